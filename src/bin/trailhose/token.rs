//! `trailhose token`: creates, revokes and lists the tokens of the API, also while the server runs.

use crate::args::{DestArgs, ScopeArg, TokenArgs, TokenCommand};
use crate::followers::default_folder;
use crate::print::{print, print_json};
use serde::Serialize;
use std::path::Path;
use trailhose::serve::{is_token, new_token, token_hash};
use trailhose::state::{ApiToken, STATE_FILE, StateDatabase, TokenScope};

/// Exit code: nothing was changed.
const UNCHANGED: u8 = 1;

/// Runs the command and returns the exit code.
pub(crate) fn run(args: TokenArgs) -> Result<u8, String> {
    let json = args.json;
    match args.command {
        TokenCommand::Create { name, dest, scopes, unlimited, token_file } => {
            let given = token_file.as_deref().map(read_token).transpose()?;
            create(&open(&dest)?, name, &scopes, unlimited, given, json)
        }
        TokenCommand::Revoke { name, dest } => revoke(&open(&dest)?, &name, json),
        TokenCommand::List { dest } => list(&open(&dest)?, json),
    }
}

fn open(dest: &DestArgs) -> Result<StateDatabase, String> {
    let folder = match &dest.dest {
        Some(folder) if !folder.is_dir() => {
            return Err(format!("DEST: {} is not a folder: name the destination of the server", folder.display()));
        }
        Some(folder) => folder.clone(),
        None => default_folder("DEST")?,
    };
    StateDatabase::open(&folder.join(".trailhose").join(STATE_FILE)).map_err(|error| error.to_string())
}

/// A token without its secret, for people and programs.
#[derive(Debug, Serialize)]
struct TokenView<'a> {
    name: &'a str,
    scopes: Vec<&'static str>,
    unlimited: bool,
    created: String,
    revoked: Option<String>,
    /// The token itself, which only `create` prints.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<&'a str>,
}

impl<'a> TokenView<'a> {
    fn new(stored: &'a ApiToken, token: Option<&'a str>) -> Self {
        let time = |seconds| jiff::Timestamp::from_second(seconds).map_or_else(|_| "?".into(), |time| time.to_string());
        Self {
            name: &stored.name,
            scopes: stored.scopes.iter().map(|scope| scope.name()).collect(),
            unlimited: stored.is_unlimited,
            created: time(stored.created),
            revoked: stored.revoked.map(time),
            token,
        }
    }
}

fn create(
    state: &StateDatabase,
    name: String,
    scopes: &[ScopeArg],
    is_unlimited: bool,
    given: Option<String>,
    json: bool,
) -> Result<u8, String> {
    let mut scopes: Vec<TokenScope> = scopes.iter().map(|scope| stored_scope(*scope)).collect();
    if scopes.is_empty() {
        scopes.push(TokenScope::Read);
    }
    scopes.sort_unstable();
    scopes.dedup();
    let is_given = given.is_some();
    let token = given.map_or_else(new_token, Ok)?;
    let created = jiff::Timestamp::now().as_second();
    let stored = ApiToken { name, hash: token_hash(&token), scopes, is_unlimited, created, revoked: None };
    if !state.add_token(&stored).map_err(|error| error.to_string())? {
        let known = state.tokens().map_err(|error| error.to_string())?;
        let is_same = |token: &ApiToken| {
            token.revoked.is_none()
                && (&token.name, &token.hash, &token.scopes) == (&stored.name, &stored.hash, &stored.scopes)
        };
        if is_given && known.iter().any(is_same) {
            return Ok(0);
        }
        let reason =
            format!("the name {:?} is used by another token, which may be revoked: use another name", stored.name);
        return Ok(crate::report_failure("name_used", &reason, UNCHANGED));
    }
    match json {
        true => print_json(&TokenView::new(&stored, Some(&*token).filter(|_| !is_given))),
        false if is_given => {}
        false => print(&format!("{token}\n")),
    }
    Ok(0)
}

/// Reads a token that another program created.
fn read_token(path: &Path) -> Result<String, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("--token-file {}: {error}", path.display()))?;
    let token = text.trim();
    if !is_token(token) {
        return Err(format!(
            "--token-file {}: expected trailhose_ and 256 random bits in base64url (43 characters)",
            path.display()
        ));
    }
    Ok(token.to_owned())
}

fn stored_scope(scope: ScopeArg) -> TokenScope {
    match scope {
        ScopeArg::Read => TokenScope::Read,
        ScopeArg::Write => TokenScope::Write,
        ScopeArg::Athena => TokenScope::Athena,
    }
}

fn revoke(state: &StateDatabase, name: &str, json: bool) -> Result<u8, String> {
    if !state.revoke_token(name, jiff::Timestamp::now().as_second()).map_err(|error| error.to_string())? {
        let reason = format!("there is no valid token with the name {name:?}: see `trailhose token list`");
        return Ok(crate::report_failure("no_token", &reason, UNCHANGED));
    }
    match json {
        true => print_json(&serde_json::json!({"revoked": name})),
        false => print(&format!("{name} is revoked; a running server refuses it within a second.\n")),
    }
    Ok(0)
}

fn list(state: &StateDatabase, json: bool) -> Result<u8, String> {
    let tokens = state.tokens().map_err(|error| error.to_string())?;
    if tokens.is_empty() && !json {
        print("No tokens.\n");
    }
    for token in &tokens {
        let view = TokenView::new(token, None);
        if json {
            print_json(&view);
            continue;
        }
        let revoked = view.revoked.as_ref().map(|time| format!("  revoked {time}")).unwrap_or_default();
        let unlimited = if view.unlimited { "  unlimited" } else { "" };
        print(&format!(
            "{:<24}  {:<16}  created {}{unlimited}{revoked}\n",
            view.name,
            view.scopes.join(","),
            view.created
        ));
    }
    Ok(0)
}
