//! The commands of `docs/operations.md`, section by section.

use crate::bed;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Output};

/// A section with its commands in order.
#[derive(Debug)]
pub struct Section {
    /// The heading.
    pub name: String,
    /// The commands, without the prompt.
    pub commands: Vec<String>,
}

/// Returns the sections of the page that contain commands. A block of another kind fails, because its commands would not
/// be executed.
pub fn sections() -> Vec<Section> {
    let page = std::fs::read_to_string(bed::root().join("docs/operations.md")).unwrap();
    let mut found: Vec<Section> = Vec::new();
    let mut in_block = false;
    for line in page.lines() {
        match line.strip_prefix("```") {
            Some("") if in_block => in_block = false,
            Some("console") if !in_block => in_block = true,
            Some(kind) => panic!("a block of the kind {kind:?}: its commands are not executed"),
            None if in_block => {
                let command = line.strip_prefix("$ ").unwrap_or_else(|| panic!("not a command: {line}"));
                found.last_mut().unwrap().commands.push(command.to_owned());
            }
            None => {
                if let Some(name) = line.trim_start_matches('#').strip_prefix(' ').filter(|_| line.starts_with('#')) {
                    found.push(Section { name: name.to_owned(), commands: Vec::new() });
                }
            }
        }
    }
    found.retain(|section| !section.commands.is_empty());
    found
}

/// Returns the names of the template's alarms.
pub fn alarms() -> BTreeSet<String> {
    let template = std::fs::read_to_string(bed::root().join("template.yaml")).unwrap();
    let lines: Vec<_> = template.lines().collect();
    let alarms = lines.windows(2).filter(|pair| pair[1].trim() == "Type: AWS::CloudWatch::Alarm");
    alarms.map(|pair| pair[0].trim().trim_end_matches(':').to_owned()).collect()
}

/// A shell in which the commands of the page are executed, with the variables and functions of earlier commands.
pub struct Shell<'a> {
    endpoint: &'a str,
    folder: &'a Path,
    /// Earlier commands that define a function or a variable.
    definitions: String,
}

impl<'a> Shell<'a> {
    /// Returns a shell for this emulator. Commands run in `folder`.
    pub fn new(endpoint: &'a str, folder: &'a Path) -> Self {
        let bin = folder.join("bin");
        std::fs::create_dir(&bin).unwrap();
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_trailhose"), bin.join("trailhose")).unwrap();
        let (python, script) = (bed::tool("ministack/bin/python"), bed::root().join("tests/operations/aws"));
        let aws = format!("#!/bin/sh\nexec {} {} \"$@\"\n", python.display(), script.display());
        std::fs::write(bin.join("aws"), aws).unwrap();
        let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(bin.join("aws"), executable).unwrap();
        Self { endpoint, folder, definitions: String::new() }
    }

    /// Returns the folder in which commands run.
    pub fn folder(&self) -> &Path {
        self.folder
    }

    /// Defines a variable.
    pub fn define(&mut self, name: &str, value: &str) {
        let _ = writeln!(self.definitions, "{name}='{value}'");
    }

    /// Executes a command and returns what it printed.
    pub fn run(&mut self, command: &str, exit_code: i32) -> String {
        let is_function = command.contains("() {");
        let names = if is_function { Vec::new() } else { assigned(command) };
        // A variable keeps its value, also after the stack that it was read from is deleted.
        let script = match names.is_empty() {
            true => command.to_owned(),
            false => format!("{command}\ndeclare -p {}", names.join(" ")),
        };
        let Output { status, stdout, stderr } = Command::new("bash")
            .args(["-euo", "pipefail", "-c", &format!("{}{script}", self.definitions)])
            .current_dir(self.folder)
            .env_clear()
            .env("PATH", format!("{}:/usr/local/bin:/usr/bin:/bin", self.folder.join("bin").display()))
            .env("HOME", self.folder)
            .env("AWS_ENDPOINT_URL", self.endpoint)
            .env("AWS_REGION", bed::REGION)
            .env("AWS_DEFAULT_REGION", bed::REGION)
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "test")
            .output()
            .unwrap();
        let (out, err) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
        assert_eq!(status.code(), Some(exit_code), "{command}:\n{out}{err}");
        if is_function {
            let _ = writeln!(self.definitions, "{command}");
        } else if !names.is_empty() {
            self.definitions += &out;
        }
        format!("{out}{err}")
    }
}

/// Returns the variables that a command assigns.
fn assigned(command: &str) -> Vec<&str> {
    let is_name = |name: &str| name.bytes().all(|byte| byte.is_ascii_lowercase());
    let names = command.split_whitespace().map(|word| word.split_once('=').map(|(name, _)| name));
    match names.clone().next() {
        Some(Some(first)) if is_name(first) => names.flatten().filter(|name| is_name(name)).collect(),
        _ => Vec::new(),
    }
}
