"""The reads of a usual student project of 2025: Flask, and results in Redis as JSON, read and parsed for each request.

Key `ca_mensuel` holds {ville: {mois: ca}}. REDIS_PORT says where Redis is, PORT where to listen.
"""

import json
import os

import redis
from flask import Flask, jsonify, request

app = Flask(__name__)
store = redis.Redis(host="127.0.0.1", port=int(os.environ["REDIS_PORT"]), decode_responses=True)


@app.route("/api/ca-mensuel")
def ca_mensuel():
    results = store.get("ca_mensuel")
    if results is None:
        return jsonify({"error": "Aucun résultat"}), 404
    results = json.loads(results)
    ville, mois = request.args.get("ville"), request.args.get("mois")
    if ville:
        results = {ville: results[ville]} if ville in results else {}
    if mois:
        results = {city: {mois: months[mois]} for city, months in results.items() if mois in months}
    return jsonify(results)


if __name__ == "__main__":
    app.run(host="127.0.0.1", port=int(os.environ["PORT"]), threaded=True)
