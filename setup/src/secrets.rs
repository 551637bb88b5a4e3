//! Writes the secrets of a cluster, one folder for each user that may read them.
//!
//! ```text
//! DIR/broker/    definitions.json  ca.pem  cert.pem  key.pem  hosts  .erlang.cookie
//! DIR/<user>/    password  uri  ca.pem
//! DIR/api/       the same, and token
//! ```
//!
//! Passwords, the cookie, the token and the certificate are made where they are missing, and kept where they are not; the certificate is
//! renewed for hosts that it does not hold. Everything else follows from them and is written each time. A folder is a
//! volume that is mounted in its owner's container only, so files are readable there by whatever user it runs as; the
//! broker's key and cookie by their owner alone.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::certificate;
use crate::rights::{USERS, VHOST, definitions};

/// Who may read a file: everybody that sees it, or its owner alone.
const ALL: u32 = 0o444;
const OWNER: u32 = 0o400;

/// Why secrets could not be written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{}: cannot be {doing}", path.display())]
    File {
        path: PathBuf,
        doing: &'static str,
        #[source]
        source: io::Error,
    },
    #[error("no certificate for {hosts}")]
    Certificate {
        hosts: String,
        #[source]
        source: rcgen::Error,
    },
    #[error("the system gives no random bytes")]
    Random(#[source] getrandom::Error),
}

/// Writes what a cluster needs, of which `hosts` name the brokers and `port` is where they listen for TLS.
///
/// # Errors
/// [`Error`]; what was written is kept by the next call.
pub(crate) fn write(folder: &Path, hosts: &[String], port: u16) -> Result<(), Error> {
    let broker = folder.join("broker");
    certify(&broker, hosts)?;
    keep_or_make(&broker.join(".erlang.cookie"), OWNER)?;
    let ca = read(&broker.join("ca.pem"))?;
    let mut passwords = Vec::new();
    for user in &USERS {
        let own = folder.join(user.name);
        let password = keep_or_make(&own.join("password"), ALL)?;
        let address =
            |host: &String| format!("amqps://{}:{password}@{host}:{port}/{VHOST}", user.name);
        let addresses: Vec<String> = hosts.iter().map(address).collect();
        put(&own.join("uri"), &addresses.join(","), ALL)?;
        put(&own.join("ca.pem"), &ca, ALL)?;
        passwords.push((password, random()?));
    }
    keep_or_make(&folder.join("api").join("token"), ALL)?;
    put(
        &broker.join("definitions.json"),
        &definitions(&passwords).to_string(),
        ALL,
    )
}

/// Makes a certificate, unless there is one for these hosts. `hosts` is written last, and says that the others are whole.
fn certify(folder: &Path, hosts: &[String]) -> Result<(), Error> {
    let listed = folder.join("hosts");
    let known = fs::read_to_string(&listed).unwrap_or_default();
    if hosts
        .iter()
        .all(|host| known.lines().any(|known| known == host))
    {
        return Ok(());
    }
    let made = certificate::make(hosts).map_err(|source| Error::Certificate {
        hosts: hosts.join(", "),
        source,
    })?;
    put(&listed, "", ALL)?;
    put(&folder.join("ca.pem"), &made.ca, ALL)?;
    put(&folder.join("cert.pem"), &made.certificate, ALL)?;
    put(&folder.join("key.pem"), &made.key, OWNER)?;
    put(&listed, &hosts.join("\n"), ALL)
}

/// The secret in a file; a new one where there is none.
fn keep_or_make(path: &Path, mode: u32) -> Result<String, Error> {
    if path.exists() {
        return read(path);
    }
    let secret = random::<16>()?
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect::<String>();
    put(path, &secret, mode)?;
    Ok(secret)
}

fn random<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(Error::Random)?;
    Ok(bytes)
}

fn read(path: &Path) -> Result<String, Error> {
    fs::read_to_string(path).map_err(failed(path, "read"))
}

/// Writes a file that is at no time half written, nor readable by more than `mode` says.
fn put(path: &Path, text: &str, mode: u32) -> Result<(), Error> {
    let put = || {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let unfinished = path.with_added_extension("tmp");
        let _none_is_left = fs::remove_file(&unfinished);
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(OWNER)
            .open(&unfinished)?;
        file.write_all(text.as_bytes())?;
        file.set_permissions(fs::Permissions::from_mode(mode))?;
        file.sync_all()?;
        fs::rename(&unfinished, path)
    };
    put().map_err(failed(path, "written"))
}

fn failed(path: &Path, doing: &'static str) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::File {
        path,
        doing,
        source,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

    /// Every file below `folder`, with its mode.
    fn files(folder: &Path) -> Result<BTreeMap<String, (u32, String)>> {
        let mut files = BTreeMap::new();
        for entry in fs::read_dir(folder)? {
            for file in fs::read_dir(entry?.path())? {
                let path = file?.path();
                let name = path.strip_prefix(folder)?.display().to_string();
                let mode = fs::metadata(&path)?.permissions().mode() & 0o777;
                files.insert(name, (mode, fs::read_to_string(&path)?));
            }
        }
        Ok(files)
    }

    #[test]
    fn secrets_are_made_once_and_readable_by_their_owner() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let hosts = ["rabbitmq".to_owned()];
        write(folder.path(), &hosts, 5671)?;
        let first = files(folder.path())?;
        write(folder.path(), &hosts, 5671)?;
        let mut second = files(folder.path())?;
        // with a new salt each time
        second.insert(
            "broker/definitions.json".to_owned(),
            first["broker/definitions.json"].clone(),
        );
        assert_eq!(first, second);
        for (name, (mode, _)) in &first {
            let alone = ["broker/key.pem", "broker/.erlang.cookie"].contains(&name.as_str());
            assert_eq!(*mode, if alone { OWNER } else { ALL }, "{name}");
        }
        let password = &first["worker/password"].1;
        assert_eq!(password.len(), 32);
        assert_eq!(
            first["worker/uri"].1,
            format!("amqps://worker:{password}@rabbitmq:5671/autoconnect")
        );
        let know = first
            .iter()
            .filter(|(_, (_, text))| text.contains(password.as_str()));
        let know: Vec<&str> = know.map(|(name, _)| name.as_str()).collect();
        assert_eq!(know, ["worker/password", "worker/uri"]);
        Ok(())
    }

    #[test]
    fn other_hosts_get_another_certificate_and_keep_the_passwords() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let hosts = ["rabbitmq", "rabbitmq-2", "rabbitmq-3"].map(str::to_owned);
        write(folder.path(), &hosts[..1], 5671)?;
        let one = files(folder.path())?;
        write(folder.path(), &hosts, 5671)?;
        let three = files(folder.path())?;
        assert_ne!(one["broker/cert.pem"], three["broker/cert.pem"]);
        assert_eq!(three["broker/ca.pem"], three["reducer/ca.pem"]);
        assert_eq!(one["reducer/password"], three["reducer/password"]);
        assert_eq!(three["reducer/uri"].1.split(',').count(), 3);
        // back to one: the certificate for three serves
        write(folder.path(), &hosts[..1], 5671)?;
        assert_eq!(
            files(folder.path())?["broker/cert.pem"],
            three["broker/cert.pem"]
        );
        Ok(())
    }

    #[test]
    fn a_host_that_cannot_be_one_is_refused() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let refused = write(folder.path(), &["é".to_owned()], 5671);
        let said = refused.err().map(|error| error.to_string());
        assert_eq!(said.as_deref(), Some("no certificate for é"));
        Ok(())
    }
}
