//! The commands of `events/README.md` and `events/backfill/README.md` for a run without AWS: `events/emulator`, and
//! `sam local invoke` of both functions in a container. The engine belongs to the test, and the base image is a minimal
//! Debian under the name of AWS's image. `tests/runtime.rs` and `tests/runtime_backfill.rs` invoke the functions with all
//! payloads, without a container.
//!
//! If this machine cannot run an engine, the test prints the reason and fails only if `CI` is set.

mod bed;
mod sample;

use bed::engine::{self, Engine};
use bed::process::Process;
use bed::{lambda_program, root, tool};
use serde_json::Value;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

const ARCHITECTURE: &str = if cfg!(target_arch = "aarch64") { "arm64" } else { "x86_64" };

/// The newest glibc that Amazon Linux 2023 has.
const GLIBC_MINOR: u32 = 34;

#[test]
fn the_documented_commands_run_both_functions_in_a_container() {
    let engine = match Engine::start() {
        Ok(engine) => engine,
        Err(reason) => {
            // Not `eprintln`, whose output the test runner hides.
            writeln!(std::io::stderr(), "not tested: sam local invoke: {reason}").unwrap();
            assert!(std::env::var_os("CI").is_none(), "sam local invoke is not tested: {reason}");
            return;
        }
    };
    engine.import(&engine::base_image(), "public.ecr.aws/lambda/provided", &format!("al2023-{ARCHITECTURE}"));
    let emulator = start_emulator(&engine);
    let project = built_project();
    let invoke = |command: &str, file: &str| {
        let result = sam_local_invoke(&engine, project.path(), command, file);
        let log = format!("{file}: {}\n{}\nThe emulator:\n{}", result.response, result.log, emulator.log());
        (result, log)
    };

    let ingest = || {
        let command = documented_command("events/README.md");
        let (result, log) = invoke(&command, "events/sqs-s3.json");
        assert_eq!([result.failures(), result.metric("EventsDelivered")], [0, 25], "{log}");
        // The ledger of the emulator remembers the object between two containers.
        let (result, log) = invoke(&command, "events/sqs-s3.json");
        assert_eq!([result.metric("ObjectsAlreadyDone"), result.metric("EventsDelivered")], [1, 0], "{log}");
        // Some objects occur in two messages. The message that finds the lease of the other one is retried.
        let (result, log) = invoke(&command, "events/sqs-several.json");
        assert_eq!([result.metric("ObjectsFailed"), result.metric("EventsDelivered")], [0, 76], "{log}");
        let (result, log) = invoke(&command, "events/sqs-unknown.json");
        assert_eq!([result.failures(), result.metric("MessagesDeadLettered")], [0, 1], "{log}");
    };
    let backfill = || {
        let command = documented_command("events/backfill/README.md");
        let (result, log) = invoke(&command, "events/backfill/run-dry.json");
        assert!(result.response["run"].is_string(), "{log}");
        assert_eq!(result.metric("RunsStarted"), 1, "{log}");
        let (result, log) = invoke(&command, "events/backfill/sqs-several.json");
        assert_eq!([result.failures(), result.metric("UnitsDone")], [0, 2], "{log}");
        assert!(result.metric("UnitsFound") > 0 && result.metric("ObjectsEnqueued") > 0, "{log}");
        let (result, log) = invoke(&command, "events/backfill/sqs-unknown.json");
        assert_eq!([result.failures(), result.metric("MessagesInvalid")], [3, 3], "{log}");
    };
    // Each invocation takes several seconds to build its image, so both functions are invoked concurrently.
    std::thread::scope(|scope| {
        scope.spawn(ingest);
        backfill();
    });
}

#[test]
fn the_functions_need_no_newer_glibc_than_amazon_linux_2023_has() {
    for name in ["ingest", "backfill"] {
        let program = std::fs::read(lambda_program(name)).unwrap();
        let text = String::from_utf8_lossy(&program);
        let versions = text.split("GLIBC_2.").skip(1).filter_map(|rest| {
            let digits = rest.split(|character: char| !character.is_ascii_digit()).next().unwrap();
            digits.parse::<u32>().ok()
        });
        let newest = versions.max().unwrap_or_else(|| panic!("{name} names no version of glibc"));
        assert!(newest <= GLIBC_MINOR, "{name} needs glibc 2.{newest}; Amazon Linux 2023 has 2.{GLIBC_MINOR}");
    }
}

/// The response and the log of one invocation.
struct Invocation {
    response: Value,
    log: String,
}

impl Invocation {
    /// Returns the number of failed messages. Panics if the response is not a batch response.
    fn failures(&self) -> u64 {
        let failures = self.response["batchItemFailures"].as_array();
        failures.unwrap_or_else(|| panic!("{}\n{}", self.response, self.log)).len() as u64
    }

    /// Returns a metric. The function writes one line with all metrics.
    fn metric(&self, name: &str) -> u64 {
        let line = self.log.lines().find(|line| line.contains("\"_aws\""));
        let line = line.unwrap_or_else(|| panic!("no metrics in the log of the function:\n{}", self.log));
        serde_json::from_str::<Value>(line).unwrap()[name].as_u64().unwrap_or_else(|| panic!("no {name} in {line}"))
    }
}

/// Returns the `sam local invoke` command of a page, in one line.
fn documented_command(page: &str) -> String {
    let page = std::fs::read_to_string(root().join(page)).unwrap().replace("\\\n", " ");
    let command = page.lines().map(str::trim).find(|line| line.starts_with("sam local invoke ")).unwrap();
    command.to_owned()
}

/// Runs the documented command in the network of the engine, for another event file.
fn sam_local_invoke(engine: &Engine, project: &Path, command: &str, file: &str) -> Invocation {
    let documented = command.split_once("--event ").unwrap().1.split(' ').next().unwrap();
    let command = command.replace(documented, file).replace("=x86_64", &format!("={ARCHITECTURE}"));
    let path = std::env::var("PATH").unwrap();
    let output = engine
        .command("sh")
        .args(["-c", &command])
        .current_dir(project)
        .env_clear()
        .env("PATH", format!("{}:{path}", tool("sam/bin").display()))
        .env("HOME", project)
        .env("DOCKER_HOST", engine.socket())
        .env("SAM_CLI_TELEMETRY", "0")
        // The base image exists only in this engine.
        .env("SAM_SKIP_PULL_IMAGE", "1")
        .output()
        .unwrap();
    let [response, log] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    assert!(output.status.success(), "{command}: {}\n{response}{log}", output.status);
    let response =
        serde_json::from_str(&response).unwrap_or_else(|error| panic!("{command}: {error}\n{response}{log}"));
    Invocation { response, log }
}

/// Starts the documented emulator.
fn start_emulator(engine: &Engine) -> Process {
    let script = root().join("events/emulator");
    let arguments = [script.to_str().unwrap(), engine::HOST];
    let mut emulator = engine.server(&tool("ministack/bin/python"), &arguments);
    assert!(emulator.prints("The emulator is ready", Duration::from_secs(60)), "{}", emulator.log());
    emulator
}

/// Returns a folder with `events/` and what `sam build` creates, with the programs of this build.
fn built_project() -> TempDir {
    let project = TempDir::new().unwrap();
    std::os::unix::fs::symlink(sample::events(), project.path().join("events")).unwrap();
    let build = project.path().join(".aws-sam/build");
    let mut template = std::fs::read_to_string(root().join("template.yaml")).unwrap();
    for (function, name) in [("IngestFunction", "ingest"), ("BackfillFunction", "backfill")] {
        let folder = build.join(function);
        std::fs::create_dir_all(&folder).unwrap();
        let bootstrap = folder.join("bootstrap");
        let status = Command::new("strip").arg("-o").arg(bootstrap).arg(lambda_program(name)).status().unwrap();
        assert!(status.success(), "strip {name}: {status}");
        let before = format!("CodeUri: lambda/{name}\n");
        assert!(template.contains(&before), "{before}");
        template = template.replace(&before, &format!("CodeUri: {function}\n"));
    }
    std::fs::write(build.join("template.yaml"), template).unwrap();
    project
}
