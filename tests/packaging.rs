//! `tools/package` with the programs of this build instead of release builds: the archives are complete and reproducible,
//! the packaged template deploys to the emulator, and the container image runs. `docs/release.md` describes a release.

mod bed;
mod sample;

use aws_sdk_lambda::primitives::Blob;
use bed::emulator::{Emulator, LambdaEndpoint, Policies};
use bed::engine::{self, Engine};
use bed::stack::without_named_queries;
use bed::{lambda_program, root, tool};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

const ARCHITECTURE: &str = if cfg!(target_arch = "aarch64") { "arm64" } else { "x86_64" };

#[tokio::test(flavor = "multi_thread")]
async fn a_release_is_complete_and_reproducible_and_runs() {
    let programs = programs();
    let folder = TempDir::new().unwrap();
    let [first, second] = ["first", "second"].map(|name| folder.path().join(name));
    package(programs.path(), &first);
    let files = files(&first);
    // The second release, the container, the deployment and the checks of the first release run concurrently. They wait
    // for compression, the engine and the emulator.
    let release = first.clone();
    let container = std::thread::spawn(move || run_container(&release));
    let again = std::thread::spawn(move || {
        package(programs.path(), &second);
        self::files(&second)
    });
    let (release, home) = (first.join(ARCHITECTURE), folder.path().to_owned());
    let deployment = tokio::spawn(async move { deploy(&release, &home).await });

    run(Command::new("sha256sum").args(["--check", "--strict", "--quiet", "SHA256SUMS"]).current_dir(&first));

    let template = std::fs::read_to_string(first.join(ARCHITECTURE).join("template.yaml")).unwrap();
    let functions = functions();
    assert_eq!(template.matches("Type: AWS::Serverless::Function\n").count(), functions.len());
    assert!(!template.contains("BuildMethod") && !template.contains("lambda/"), "{template}");
    let mut expected: BTreeSet<_> = ["SHA256SUMS".to_owned(), format!("{ARCHITECTURE}/template.yaml")].into();
    for name in &functions {
        assert!(template.contains(&format!("CodeUri: {name}.zip\n")), "{name}");
        expected.insert(format!("{ARCHITECTURE}/{name}.zip"));
        expected.insert(format!("sbom/trailhose-{name}-{ARCHITECTURE}.cdx.json"));
    }
    let archive = format!("trailhose-{}-linux-{ARCHITECTURE}", env!("CARGO_PKG_VERSION"));
    expected.insert(format!("{archive}.tar.gz"));
    expected.insert(format!("sbom/trailhose-{ARCHITECTURE}.cdx.json"));
    assert_eq!(files.keys().cloned().collect::<BTreeSet<_>>(), expected);

    run(Command::new("tar").arg("-xzf").arg(first.join(format!("{archive}.tar.gz"))).current_dir(folder.path()));
    let unpacked = folder.path().join(archive);
    let version = run(Command::new(unpacked.join("trailhose")).arg("--version"));
    assert_eq!(version.stdout, format!("trailhose {}\n", env!("CARGO_PKG_VERSION")).into_bytes());
    run(Command::new("bash").arg("-n").arg(unpacked.join("completions/trailhose.bash")));
    for file in ["LICENSE", "README.md", "completions/_trailhose", "completions/trailhose.fish", "man/trailhose.1"] {
        assert!(unpacked.join(file).is_file(), "{file}");
    }
    for command in ["sync", "backfill", "ledger-quarantine-retry"] {
        let page = std::fs::read_to_string(unpacked.join(format!("man/trailhose-{command}.1"))).unwrap();
        assert!(page.contains(".SH SYNOPSIS"), "{page}");
    }
    for unit in ["trailhose.service", "trailhose-serve.service"] {
        assert!(unpacked.join("systemd").join(unit).is_file(), "{unit}");
    }

    let crates = |program: &str| {
        let path = first.join(format!("sbom/{program}-{ARCHITECTURE}.cdx.json"));
        let sbom: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        assert_eq!([&sbom["bomFormat"], &sbom["specVersion"]], ["CycloneDX", "1.5"]);
        let components = sbom["components"].as_array().unwrap();
        for component in components {
            assert!(!component["licenses"][0]["expression"].as_str().unwrap().is_empty(), "{component}");
        }
        let name = |component: &Value| component["name"].as_str().unwrap().to_owned();
        components.iter().map(name).collect::<BTreeSet<_>>()
    };
    assert!(crates("trailhose-ingest").contains("aws-sdk-firehose") && !crates("trailhose-ingest").contains("clap"));
    assert!(crates("trailhose").contains("clap") && crates("trailhose").contains("parquet"));

    let again = again.join().unwrap();
    let differs = |(name, bytes): &(&String, &Vec<u8>)| again.get(*name) != Some(*bytes);
    let differing: Vec<_> = files.iter().filter(differs).map(|(name, _)| name).collect();
    assert!(
        differing.is_empty() && files.len() == again.len(),
        "two releases of the same programs differ: {differing:?}"
    );
    deployment.await.unwrap();
    container.join().unwrap();
}

/// Deploys the packaged template and starts a run of the backfill.
async fn deploy(release: &Path, home: &Path) {
    let emulator = Emulator::ministack(Policies::Ignored, LambdaEndpoint::Emulator);
    let config = emulator.config();
    let s3 = aws_sdk_s3::Client::new(&config);
    bed::bucket::create(&s3, sample::BUCKET, sample::objects()).await;
    bed::bucket::create(&s3, "artifacts", []).await;
    let template = std::fs::read_to_string(release.join("template.yaml")).unwrap();
    std::fs::write(release.join("emulator.yaml"), without_named_queries(&template)).unwrap();
    let validate = ["validate", "--lint", "--template=template.yaml", "--region=us-east-1"];
    let deploy = [
        "deploy",
        "--template-file=emulator.yaml",
        "--stack-name=trailhose",
        "--s3-bucket=artifacts",
        "--capabilities=CAPABILITY_IAM",
        "--no-confirm-changeset",
        "--parameter-overrides",
        &format!("LogBucketName={}", sample::BUCKET),
        "BackfillState=DISABLED",
    ];
    for arguments in [&validate[..], &deploy] {
        let mut command = Command::new(tool("sam/bin/sam"));
        command.args(arguments).current_dir(release).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap()).env("HOME", home);
        command.env("AWS_ENDPOINT_URL", emulator.endpoint()).env("AWS_DEFAULT_REGION", bed::REGION);
        command.env("AWS_ACCESS_KEY_ID", "test").env("AWS_SECRET_ACCESS_KEY", "test").env("SAM_CLI_TELEMETRY", "0");
        command.env("SAM_CLI_POLL_DELAY", "0.3");
        run(&mut command);
    }
    let lambda = aws_sdk_lambda::Client::new(&config);
    let listed = lambda.list_functions().send().await.unwrap();
    let names: Vec<_> = listed.functions().iter().filter_map(|function| function.function_name()).collect();
    let backfill = names.iter().find(|name| name.contains("BackfillFunction"));
    let backfill = backfill.unwrap_or_else(|| panic!("the stack has no backfill function, only {names:?}"));
    let answer = lambda.invoke().function_name(*backfill).payload(Blob::new("{}")).send().await.unwrap();
    let answer: Value = serde_json::from_slice(answer.payload().unwrap().as_ref()).unwrap();
    assert!(answer["run"].is_string(), "{answer}\n{}", emulator.log());
}

/// Builds the container image and runs it with a root file system that cannot be written to. If this machine cannot run an
/// engine, prints the reason and fails only if `CI` is set.
fn run_container(release: &Path) {
    let engine = match Engine::start() {
        Ok(engine) => engine,
        Err(reason) => {
            // Not `eprintln`, whose output the test runner hides.
            let mut stderr = std::io::stderr();
            writeln!(stderr, "not tested: the container image: {reason}").unwrap();
            assert!(std::env::var_os("CI").is_none(), "the container image is not tested: {reason}");
            return;
        }
    };
    engine.import(&engine::base_image(), "docker.io/library/debian", "bookworm-slim");
    std::fs::copy(root().join("packaging/Containerfile"), release.join("Containerfile")).unwrap();
    let script = r#"
import docker, sys
client = docker.DockerClient(sys.argv[1])
image, log = client.images.build(path=sys.argv[2], dockerfile="Containerfile", buildargs={"ARCH": sys.argv[3]})
volumes = {sys.argv[4]: {"bind": "/bucket", "mode": "ro"}}
output = client.containers.run(image, ["sync", "/bucket", "/data/events"], volumes=volumes, read_only=True, stdout=True, stderr=True)
print(image.attrs["Config"]["User"], output.decode())
"#;
    let bucket = sample::events().join("bucket");
    let mut command = engine.command(tool("sam/bin/python"));
    command.args(["-c", script, &engine.socket()]).args([release, Path::new(ARCHITECTURE), &bucket]);
    let output = String::from_utf8(run(&mut command).stdout).unwrap();
    assert!(output.starts_with("65532:65532 "), "{output}");
    assert!(output.contains("All selected objects are delivered."), "{output}");
}

#[test]
fn systemd_accepts_the_units() {
    for (name, start) in [("trailhose.service", "sync --watch "), ("trailhose-serve.service", "serve ")] {
        let unit = std::fs::read_to_string(root().join("packaging/systemd").join(name)).unwrap();
        // A folder for each unit, because systemd also reads units beside it that it names.
        let folder = TempDir::new().unwrap();
        let program = "ExecStart=/usr/local/bin/trailhose ";
        assert_eq!(unit.matches(program).count(), 1, "{unit}");
        assert!(unit.contains(&format!("{program}{start}")), "{unit}");
        let verify = |unit: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, unit.replace(program, "ExecStart=/bin/true ")).unwrap();
            let output = run(Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(path));
            String::from_utf8(output.stderr).unwrap()
        };
        assert_eq!(verify(&unit), "");
        // systemd-analyze only warns of unknown settings.
        assert!(verify(&unit.replace("ProtectProc=", "ProtectProcess=")).contains("ProtectProcess"));
    }
}

#[test]
fn cargo_install_installs_only_the_command_line_program() {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(root()).args(["metadata", "--locked", "--offline", "--no-deps", "--format-version=1"]);
    let metadata: Value = serde_json::from_slice(&run(&mut cargo).stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let package = packages.iter().find(|package| package["name"] == "trailhose").unwrap();
    let targets = package["targets"].as_array().unwrap();
    let programs = targets.iter().filter(|target| target["kind"][0] == "bin").map(|target| &target["name"]);
    assert_eq!(programs.collect::<Vec<_>>(), ["trailhose"]);
}

/// Returns the names of the functions' programs, from the template.
fn functions() -> Vec<String> {
    let template = std::fs::read_to_string(root().join("template.yaml")).unwrap();
    let names = template.lines().filter_map(|line| line.strip_prefix("      CodeUri: lambda/"));
    names.map(str::to_owned).collect()
}

/// Returns a folder with the programs of this build, without debug information.
fn programs() -> TempDir {
    let folder = TempDir::new().unwrap();
    let functions = functions();
    let functions = functions.iter().map(|name| (name.as_str(), lambda_program(name)));
    for (name, program) in functions.chain([("trailhose", PathBuf::from(env!("CARGO_BIN_EXE_trailhose")))]) {
        run(Command::new("strip").arg("-o").arg(folder.path().join(name)).arg(program));
    }
    folder
}

fn package(programs: &Path, out: &Path) {
    let mut command = Command::new(root().join("tools/package"));
    command.args(["--arch", ARCHITECTURE, "--programs"]).arg(programs).arg("--out").arg(out);
    // A checkout without git has no commit time.
    command.env("SOURCE_DATE_EPOCH", "1700000000");
    run(&mut command);
}

/// Returns the content of every file below a folder by its path.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let (mut files, mut folders) = (BTreeMap::new(), vec![folder.to_owned()]);
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
                files.insert(name, std::fs::read(&path).unwrap());
            }
        }
    }
    files
}

fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let [stdout, stderr] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    assert!(output.status.success(), "{command:?}: {}\n{stdout}{stderr}", output.status);
    output
}
