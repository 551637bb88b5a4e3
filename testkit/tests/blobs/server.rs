//! An S3 server in this process, on loopback. It checks every signature, its objects are files, and it can be away.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow};
use autoconnect_common::blob::Blobs;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s_fs::FileSystem;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Its only bucket.
pub(crate) const BUCKET: &str = "autoconnect";
/// The prefix of the store in it.
pub(crate) const PREFIX: &str = "a/prefix";
/// The only key that it knows.
pub(crate) const KEY: &str = "a-key-id";
/// The secret of that key.
pub(crate) const SECRET: &str = "a-secret-of-the-test";

/// The server, until it is dropped.
pub(crate) struct Server {
    bucket: PathBuf,
    address: SocketAddr,
    is_away: watch::Sender<bool>,
    serving: JoinHandle<()>,
}

impl Server {
    /// Serves the folder with an empty bucket in it.
    pub(crate) async fn start(folder: &Path) -> Result<Self> {
        let bucket = folder.join(BUCKET);
        fs::create_dir(&bucket)?;
        let files = FileSystem::new(folder).map_err(|error| anyhow!("{error:?}"))?;
        let mut service = S3ServiceBuilder::new(files);
        service.set_auth(SimpleAuth::from_single(KEY, SECRET));
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (is_away, seen) = watch::channel(false);
        let serving = tokio::spawn(serve(listener, service.build(), seen));
        Ok(Self {
            bucket,
            address,
            is_away,
            serving,
        })
    }

    /// The folder of the files below the prefix.
    pub(crate) fn files(&self) -> PathBuf {
        self.bucket.join(PREFIX)
    }

    /// Where it is, as an address.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The store, as a role opens it.
    pub(crate) fn open(&self, max: u64) -> Result<Blobs> {
        self.open_as(KEY, SECRET, BUCKET, max)
    }

    /// The store in a bucket, with these credentials.
    pub(crate) fn open_as(&self, key: &str, secret: &str, bucket: &str, max: u64) -> Result<Blobs> {
        let variables = [
            ("AWS_ACCESS_KEY_ID", key),
            ("AWS_SECRET_ACCESS_KEY", secret),
            ("AWS_ENDPOINT", &self.endpoint()),
            ("AWS_REGION", "eu-west-3"),
            ("AWS_ALLOW_HTTP", "true"),
        ];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let place = format!("s3://{bucket}/{PREFIX}").parse()?;
        Ok(Blobs::open_with(&place, max, variables)?)
    }

    /// Drops every connection from now on.
    pub(crate) fn go(&self) {
        self.is_away.send_replace(true);
    }

    /// Answers again, on the same port.
    pub(crate) fn come_back(&self) {
        self.is_away.send_replace(false);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(listener: TcpListener, service: S3Service, is_away: watch::Receiver<bool>) {
    while let Ok((socket, _)) = listener.accept().await {
        tokio::spawn(answer(socket, service.clone(), is_away.clone()));
    }
}

/// Answers on a connection until the server goes away.
async fn answer(socket: TcpStream, service: S3Service, mut is_away: watch::Receiver<bool>) {
    let connection = http1::Builder::new().serve_connection(TokioIo::new(socket), service);
    tokio::select! {
        biased;
        _ = is_away.wait_for(|is_away| *is_away) => {}
        _ = connection => {}
    }
}
