//! The blob store in a bucket of S3, or of another server that speaks as S3 does (cargo feature `s3`).
//!
//! Credentials, region and endpoint are AWS's own variables, as `object_store` reads them (`AWS_ACCESS_KEY_ID`,
//! `AWS_SECRET_ACCESS_KEY`, `AWS_REGION`, `AWS_ENDPOINT`, `AWS_ALLOW_HTTP`, …). No setting of ours holds them, and no message
//! shows a secret: of an answer of S3, only its code and its message are shown, of another server's, its beginning.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey as Variable};
use object_store::path::Path;
use object_store::{ClientConfigKey, ClientOptions, RetryConfig};
use reqwest::Url;

use super::place::Opened;
use super::with_causes;

/// What the variables begin with.
const PREFIX: &str = "AWS_";
/// How long one request may take with its body: the largest body of [`MAX_BLOB`](super::MAX_BLOB) at 1 MiB a second, and some more.
/// `AWS_TIMEOUT` sets another.
const REQUEST: Duration = Duration::from_secs(300);
/// How often a request is repeated at once: enough for a connection that the server closed while idle, and for a moment of
/// `503 Slow Down`. A longer outage is for [`patiently`](super::patiently), which says so in the program's health.
const REPEATS: usize = 2;
/// The longest time after which a request is still repeated.
const REPEATED_FOR: Duration = Duration::from_secs(10);
/// The most characters of a server's words in a sentence.
const WORDS: usize = 300;

/// A prefix in a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bucket {
    name: String,
    prefix: Path,
}

impl Bucket {
    /// The bucket and prefix of `<bucket>/<prefix>`; a prefix may be absent. Names follow S3's rules, and those of older
    /// servers: 3 to 63 letters, digits, `.`, `-` and `_`, the first and the last a letter or digit.
    pub(super) fn parse(path: &str) -> Option<Self> {
        let (name, prefix) = path.split_once('/').unwrap_or((path, ""));
        let bytes = name.as_bytes();
        let is_name = (3..=63).contains(&bytes.len())
            && bytes
                .iter()
                .all(|b| b.is_ascii_alphanumeric() || b".-_".contains(b))
            && [bytes.first(), bytes.last()]
                .iter()
                .flatten()
                .all(|b| b.is_ascii_alphanumeric());
        // `Path::parse` takes a slash at the beginning away
        let is_prefix = prefix.bytes().all(|b| b.is_ascii_graphic()) && !prefix.starts_with('/');
        let prefix = Path::parse(prefix.strip_suffix('/').unwrap_or(prefix)).ok()?;
        (is_name && is_prefix).then(|| Self {
            name: name.to_owned(),
            prefix,
        })
    }

    /// The store, with credentials and endpoint of `variables`. Does no request yet.
    pub(super) fn open(
        &self,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Opened, String> {
        // reqwest takes the provider of the process; where there is one already, it is the same
        drop(rustls::crypto::ring::default_provider().install_default());
        let mut builder = AmazonS3Builder::new()
            .with_client_options(ClientOptions::new().with_timeout(REQUEST))
            .with_retry(RetryConfig {
                max_retries: REPEATS,
                retry_timeout: REPEATED_FOR,
                ..RetryConfig::default()
            });
        // Compose passes an absent variable on as an empty one
        for (name, value) in variables.into_iter().filter(|(_, value)| !value.is_empty()) {
            if let Some(variable) = known(&name) {
                let value = checked(&variable, &value)
                    .map_err(|expected| format!("{name} is not usable, expected {expected}"))?;
                builder = builder.with_config(variable, value);
            }
        }
        refuse_plain_http(&builder)?;
        let store = builder
            .with_bucket_name(&self.name)
            // one DELETE for each key, which every such server knows
            .with_config(Variable::DisableBulkDelete, "true")
            .build()
            .map_err(|error| sentence(&with_causes(&error)))?;
        Ok((Arc::new(store), self.prefix.clone()))
    }

    /// The address of an object in it.
    pub(super) fn address(&self, object: &Path) -> String {
        format!("s3://{}/{object}", self.name)
    }
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3://{}", self.name)?;
        match self.prefix.as_ref() {
            "" => Ok(()),
            prefix => write!(f, "/{prefix}"),
        }
    }
}

/// The variables of this process that are UTF-8.
pub(super) fn variables_of_process() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

/// The variable of that name, if it is one of S3's.
fn known(name: &str) -> Option<Variable> {
    let is_ours = name.starts_with(PREFIX);
    is_ours.then(|| name.to_ascii_lowercase().parse().ok())?
}

/// The value of a variable as requests can hold it: `object_store` panics at an address or a header that is none. An `Err` is
/// what was expected.
fn checked(variable: &Variable, value: &str) -> Result<String, &'static str> {
    let is_all = |allowed: fn(u8) -> bool| value.bytes().all(allowed);
    match variable {
        Variable::Endpoint
        | Variable::S3Endpoint
        | Variable::StsEndpoint
        | Variable::MetadataEndpoint
        | Variable::ContainerCredentialsFullUri => address(value),
        Variable::ContainerCredentialsRelativeUri => {
            let whole = address(&format!("http://localhost{value}"))?;
            let path = whole.strip_prefix("http://localhost").unwrap_or_default();
            Ok(path.to_owned())
        }
        Variable::Region | Variable::DefaultRegion => {
            match is_all(|b| b.is_ascii_alphanumeric() || b == b'-') {
                true => Ok(value.to_owned()),
                false => Err("letters, digits and -"),
            }
        }
        Variable::Client(ClientConfigKey::ProxyUrl) if Url::parse(value).is_err() => {
            Err("an address, as in http://proxy:3128")
        }
        Variable::Client(ClientConfigKey::DefaultContentType) => {
            match is_all(|b| b.is_ascii_graphic() || b == b' ') {
                true => Ok(value.to_owned()),
                false => Err("printable ASCII"),
            }
        }
        // names of files, and options that are checked when the client is built
        Variable::WebIdentityTokenFile
        | Variable::ContainerAuthorizationTokenFile
        | Variable::Client(_) => Ok(value.to_owned()),
        _ => match is_all(|b| b.is_ascii_graphic()) {
            true => Ok(value.to_owned()),
            false => Err("printable ASCII without spaces"),
        },
    }
}

/// An address without a login in it, which errors would show.
fn address(text: &str) -> Result<String, &'static str> {
    const EXPECTED: &str = "http:// or https://, a host, perhaps a port and a path, and no login";
    let url = Url::parse(text).map_err(|_| EXPECTED)?;
    let is_plain = matches!(url.scheme(), "http" | "https")
        && url.has_host()
        && url.username().is_empty()
        && url.password().is_none()
        && url.fragment().is_none();
    match is_plain {
        true => Ok(url.as_str().trim_end_matches('/').to_owned()),
        false => Err(EXPECTED),
    }
}

/// Refuses at once what every request would be refused for.
fn refuse_plain_http(builder: &AmazonS3Builder) -> Result<(), String> {
    let value = |variable| builder.get_config_value(&variable);
    let endpoint = value(Variable::S3Endpoint).or_else(|| value(Variable::Endpoint));
    let is_plain = endpoint.is_some_and(|endpoint| endpoint.starts_with("http://"));
    let is_allowed = value(Variable::Client(ClientConfigKey::AllowHttp));
    match is_plain && is_allowed.as_deref() != Some("true") {
        true => Err("its endpoint is http://, expected https:// or AWS_ALLOW_HTTP=true".to_owned()),
        false => Ok(()),
    }
}

/// What an error of `object_store` says, in one sentence: the request, and the server's code and message, or why there is no
/// answer. An error of another form stays as it is, in one line.
pub(super) fn sentence(said: &str) -> String {
    let short = || {
        // Error performing PUT http://host/bucket/key in 3ms, after 2 retries, …  - Server returned …
        let (_, said) = said.split_once("Error performing ")?;
        let (request, said) = said.split_once(" in ")?;
        let (_, said) = said.split_once(" - ")?;
        Some(format!("{request}: {}", answer(said)))
    };
    let line = short().unwrap_or_else(|| said.to_owned());
    let words: Vec<&str> = line.split_whitespace().collect();
    words.join(" ")
}

/// The status, code and message of a refusal; the rest of it may hold what was signed.
fn answer(said: &str) -> String {
    let said = said
        .strip_prefix("Server returned non-2xx status code: ")
        .unwrap_or(said);
    let element = |name: &str| {
        let (_, rest) = said.split_once(&format!("<{name}>"))?;
        Some(rest.split_once("</")?.0)
    };
    let said = match said.split_once(": ") {
        Some((status, _)) if said.contains("<Error") => {
            let words = [Some(status), element("Code"), element("Message")];
            let words: Vec<&str> = words.into_iter().flatten().collect();
            words.join(": ")
        }
        _ => said.trim_end_matches([':', ' ']).to_owned(),
    };
    said.chars().take(WORDS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(variables: &[(&str, &str)]) -> Result<(), String> {
        let bucket = Bucket::parse("reports/blobs").expect("a bucket");
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        bucket.open(variables.iter().map(owned)).map(drop)
    }

    #[test]
    fn a_bucket_and_a_prefix_are_shown_as_they_were_written() {
        for (text, shown) in [
            ("reports", "s3://reports"),
            ("reports/", "s3://reports"),
            ("reports/a/b", "s3://reports/a/b"),
            ("reports/a/b/", "s3://reports/a/b"),
            ("my.reports-2_x/a", "s3://my.reports-2_x/a"),
        ] {
            let bucket = Bucket::parse(text).expect(text);
            assert_eq!(bucket.to_string(), shown);
            let object = bucket.prefix.clone().join("x");
            assert_eq!(bucket.address(&object), format!("{shown}/x"));
        }
        for wrong in [
            "",
            "/x",
            "ab",
            "..",
            "...",
            "key:secret@reports/x",
            "a b c",
            "reports//x",
            "reports/../x",
            "reports/a b",
            "reports/é",
            &"x".repeat(64),
        ] {
            assert_eq!(Bucket::parse(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_variable_that_no_request_can_hold_is_refused_by_name_and_its_value_is_not_shown() {
        for (name, value) in [
            ("AWS_ENDPOINT", "host:9000"),
            ("AWS_ENDPOINT", "https://user:s3cret@host"),
            ("AWS_ENDPOINT_URL", "https://"),
            ("AWS_ENDPOINT_URL_S3", "ftp://s3cret"),
            ("AWS_ENDPOINT_URL_STS", "s3cret"),
            ("AWS_METADATA_ENDPOINT", "s3cret"),
            ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "@s3cret:x"),
            ("AWS_REGION", "s3cret region"),
            ("AWS_ACCESS_KEY_ID", "s3cret\n"),
            ("AWS_SECRET_ACCESS_KEY", "s3cret key"),
            ("AWS_SESSION_TOKEN", "s3crét"),
            ("AWS_DEFAULT_CONTENT_TYPE", "text/s3cret\n"),
        ] {
            let refused = open(&[(name, value)]).expect_err(value);
            assert!(
                refused.starts_with(&format!("{name} is not usable")),
                "{refused}"
            );
            assert!(!refused.contains("s3cr"), "{refused}");
        }
    }

    #[test]
    fn plain_http_needs_to_be_allowed() {
        let key = [("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "b")];
        let mut variables = vec![("AWS_ENDPOINT", "http://127.0.0.1:9000/"), key[0], key[1]];
        let refused = open(&variables).expect_err("http");
        assert!(refused.contains("AWS_ALLOW_HTTP=true"), "{refused}");
        variables.push(("AWS_ALLOW_HTTP", "true"));
        open(&variables).expect("allowed");
        open(&key).expect("AWS itself");
        open(&[key[0], key[1], ("AWS_ENDPOINT", "")]).expect("an empty variable is an absent one");
        let half = open(&key[..1]).expect_err("no secret");
        assert!(half.contains("SecretAccessKey"), "{half}");
    }

    #[test]
    fn an_answer_is_said_by_its_status_code_and_message_alone() {
        let refusal = "Generic S3 error: Error performing PUT http://host/reports/a in 3.2ms, after 2 retries, max_retries: 2, \
                       retry_timeout: 10s  - Server returned non-2xx status code: 403 Forbidden: <?xml version=\"1.0\"?>\n<Error>\
                       <Code>SignatureDoesNotMatch</Code><Message>The signature\n does not match.</Message><AWSAccessKeyId>s3cret\
                       </AWSAccessKeyId></Error>";
        let expected = "PUT http://host/reports/a: 403 Forbidden: SignatureDoesNotMatch: The signature does not match.";
        assert_eq!(sentence(refusal), expected);
        let empty = "Error performing HEAD http://host/a in 1ms - Server returned non-2xx status code: 403 Forbidden: ";
        assert_eq!(sentence(empty), "HEAD http://host/a: 403 Forbidden");
        let gone = "Error performing GET http://host/a in 1ms - HTTP error: error sending request: Connection refused";
        assert_eq!(
            sentence(gone),
            "GET http://host/a: HTTP error: error sending request: Connection refused"
        );
        assert_eq!(sentence("something\n else"), "something else");
    }
}
