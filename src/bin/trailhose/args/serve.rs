//! Arguments of `trailhose serve` and `trailhose token`.

use super::DestArgs;
use super::value::{SETTINGS_FILE, listen_address, path, pause};
use clap::{Args, Subcommand, ValueEnum};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

pub(super) const EXAMPLES: &str = "\
Examples:
  trailhose serve                                            the sources of ./trailhose.toml, on http://127.0.0.1:8080
  trailhose serve --config /etc/trailhose.toml --listen 0.0.0.0:8443    requires a token";

pub(super) const EXIT_CODES: &str = "\
Exit codes:
  0    stopped by SIGTERM; objects and requests in progress were finished
  1    stopped, but the detection or something else was not finished within --drain; the next start continues
  2    nothing was started: invalid settings, or the address, the destination or the ledger cannot be used
  130  stopped by Ctrl-C, otherwise as 0";

pub(super) const TOKEN_EXAMPLES: &str = "\
Examples:
  trailhose token create alice --scope read --scope write    prints the token once
  trailhose token create grafana --unlimited                 a token without rate limits, for programs
  trailhose token revoke alice                               a running server refuses it within a second
  trailhose token list";

pub(super) const TOKEN_EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  there is no valid token with this name, or the name is used already
  2  invalid arguments, or the state database cannot be opened";

#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// Settings file with the destination, and the sources that the API cannot change
    #[arg(long, value_name = "FILE", default_value = SETTINGS_FILE)]
    pub(crate) config: PathBuf,

    /// Address and port to listen on. Beyond loopback, a token is required [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = listen_address)]
    pub(crate) listen: Option<SocketAddr>,

    /// Time for objects and requests in progress after SIGTERM: 30s, 2m [default: 30s]
    #[arg(long, value_name = "TIME", value_parser = pause)]
    pub(crate) drain: Option<Duration>,
}

#[derive(Debug, Args)]
pub(crate) struct TokenArgs {
    #[command(subcommand)]
    pub(crate) command: TokenCommand,

    /// Print JSON
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Create a token and print it once. Only its SHA-256 is stored
    Create {
        /// Name for the token, which the audit log contains
        #[arg(value_name = "NAME", value_parser = token_name)]
        name: String,

        #[command(flatten)]
        dest: DestArgs,

        /// What the token allows (repeatable) [default: read]
        #[arg(long = "scope", value_name = "SCOPE")]
        scopes: Vec<ScopeArg>,

        /// Do not apply rate limits to this token
        #[arg(long)]
        unlimited: bool,

        /// Use the token in this file instead of a new one, and print nothing: `trailhose_` and 256 random bits in base64url.
        /// Does nothing if it is stored under this name
        #[arg(long, value_name = "FILE", value_parser = path)]
        token_file: Option<PathBuf>,
    },
    /// Revoke a token, so that the server refuses it
    Revoke {
        /// Name of the token
        #[arg(value_name = "NAME", value_parser = token_name)]
        name: String,

        #[command(flatten)]
        dest: DestArgs,
    },
    /// List the tokens without their secrets
    List {
        #[command(flatten)]
        dest: DestArgs,
    },
}

/// What a token allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ScopeArg {
    /// Read sources, events, findings and alerts, and run queries over the delivered files
    Read,
    /// Add, remove and run sources, change findings, and retry alerts
    Write,
    /// Run queries with Athena, which AWS bills
    Athena,
}

/// Checks the name of a token.
fn token_name(text: &str) -> Result<String, String> {
    let is_valid = (1..=64).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-@".contains(&byte));
    if is_valid {
        return Ok(text.to_owned());
    }
    Err("expected 1 to 64 letters, digits, '.', '_', '-' or '@'".into())
}
