#!/bin/bash
# As the official image: started as root, it gives the data folder to the user rabbitmq and becomes that user.
set -euo pipefail

if [[ $1 == rabbitmq* && $(id -u) = 0 ]]; then
    if [[ $1 = rabbitmq-server ]]; then
        find /var/lib/rabbitmq \! -user rabbitmq -exec chown rabbitmq '{}' +
    fi
    exec gosu rabbitmq "${BASH_SOURCE[0]}" "$@"
fi
exec "$@"
