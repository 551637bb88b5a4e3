//! Style sheet, script and icon, from memory. Their names have the digest of their bytes, so browsers may cache them for ever.

use std::sync::LazyLock;

use autoconnect_common::Digest;
use autoconnect_report::page::STYLE;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG};
use axum::response::{IntoResponse, Response};

/// The caching of a file whose name changes with its bytes: a year, the usual maximum.
const FOR_GOOD: &str = "public, max-age=31536000, immutable";

/// A file that pages are made of.
pub(super) struct Asset {
    /// The name of the file in addresses.
    pub(super) name: String,
    kind: &'static str,
    bytes: String,
}

impl Asset {
    fn new(stem: &str, extension: &str, kind: &'static str, bytes: String) -> Self {
        let digest = Digest::of(bytes.as_bytes()).short(12);
        Self {
            name: format!("{stem}-{digest}.{extension}"),
            kind,
            bytes,
        }
    }
}

/// The style sheet: that of reports, and the rules that the dashboard adds.
pub(super) static STYLES: LazyLock<Asset> = LazyLock::new(|| {
    let bytes = format!("{STYLE}\n{}", include_str!("../../static/dashboard.css"));
    Asset::new("style", "css", "text/css; charset=utf-8", bytes)
});

/// The script.
pub(super) static SCRIPT: LazyLock<Asset> = LazyLock::new(|| {
    let bytes = include_str!("../../static/dashboard.js").to_owned();
    Asset::new("script", "js", "text/javascript; charset=utf-8", bytes)
});

/// The icon.
pub(super) static ICON: LazyLock<Asset> = LazyLock::new(|| {
    let bytes = include_str!("../../static/icon.svg").to_owned();
    Asset::new("icon", "svg", "image/svg+xml", bytes)
});

/// The file with this name.
pub(super) fn find(name: &str) -> Option<Response> {
    let all = [&STYLES, &SCRIPT, &ICON];
    let asset = all.into_iter().find(|asset| asset.name == name)?;
    let headers = [
        (CONTENT_TYPE, asset.kind.to_owned()),
        (CACHE_CONTROL, FOR_GOOD.to_owned()),
        (ETAG, format!("\"{}\"", asset.name)),
    ];
    Some((headers, asset.bytes.as_str()).into_response())
}
