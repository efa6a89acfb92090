//! A webhook that is named on the command line, by `trailhose sync` and `trailhose generate`.

use crate::args::WebhookArgs;
use std::path::{Path, PathBuf};

/// The name of the forward to the URL of `trailhose sync`.
pub(crate) const SYNC: &str = "sync";

/// The folder with the spool folders.
const SPOOLS: &str = "trailhose-spool";

/// Returns the folder that contains the events until the URL has accepted them.
///
/// # Errors
/// This build does not forward.
#[cfg(not(feature = "forward"))]
pub(crate) fn spool(_: Option<PathBuf>, _: &str) -> Result<PathBuf, String> {
    Err(crate::components::missing_feature("a URL as DEST", "forward"))
}

/// Returns the folder that contains the events until the URL has accepted them. It depends on the whole URL, so each URL has
/// a position of its own.
///
/// # Errors
/// The URL is invalid.
#[cfg(feature = "forward")]
pub(crate) fn spool(named: Option<PathBuf>, url: &str) -> Result<PathBuf, String> {
    let host = trailhose::http::DestinationUrl::parse(url, true).map_err(|error| format!("DEST: {error}"))?;
    // A folder must not contain the colons of an IPv6 address.
    let host: String =
        host.host().chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' }).collect();
    let hash = trailhose::forward::url_hash(url);
    Ok(named.unwrap_or_else(|| Path::new(SPOOLS).join(format!("{host}-{hash}"))))
}

/// Checks that no option of a webhook is set, because the destination is not a webhook.
///
/// # Errors
/// An option is set.
pub(crate) fn check_unused(args: &WebhookArgs, spool: Option<&Path>) -> Result<(), String> {
    let option = match (&args.keys_file, &args.token_file, args.allow_private, spool) {
        (Some(_), ..) => "--keys-file",
        (_, Some(_), ..) => "--token-file",
        (_, _, true, _) => "--allow-private",
        (.., Some(_)) => "--spool",
        (None, None, false, None) => return Ok(()),
    };
    Err(format!("{option} needs a URL as the destination. In trailhose.toml, use the settings of [[forward]]"))
}

/// Replaces the setting in an error about a URL of the command line by its option.
#[cfg(feature = "forward")]
pub(crate) fn with_option(error: &str) -> String {
    error.replace("set allow_private = true", "use --allow-private").replace("allow_private = true", "--allow-private")
}

/// Returns the forward to a URL.
#[cfg(feature = "forward")]
pub(crate) fn config(name: &str, url: &str, args: &WebhookArgs) -> trailhose::forward::ForwardConfig {
    use trailhose::http::SecretSource;

    let credentials = args.token_file.clone().map(|path| ("Bearer".to_owned(), SecretSource::File(path)));
    trailhose::forward::ForwardConfig {
        signing_keys: args.keys_file.clone().map(SecretSource::File),
        credentials,
        allow_private: args.allow_private,
        ..trailhose::forward::ForwardConfig::new(name, url)
    }
}
