//! A container engine that belongs to one test. It has its own socket, data folder, network and mounts, so it neither sees
//! nor changes the images, containers, networks and firewall rules of an engine of the user. Everything in it ends with the
//! test, even when the test is killed.

use super::process::Process;
use super::{root, tool};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The programs that an engine needs. `tools/requirements/debian.txt` lists their packages.
const PROGRAMS: [&str; 6] = ["debootstrap", "dockerd", "ip", "iptables", "nsenter", "unshare"];

/// Runs in a network and a mount namespace. Writes its process ID, by which [`Engine::command`] finds the namespaces, and
/// starts the engine in a process namespace, so that its containers end with it. The private `/run` and `/etc/docker`
/// prevent the engine from writing to these folders of the machine.
const SCRIPT: &str = r#"
set -e
echo $$ >"$1/pid.new"
mv "$1/pid.new" "$1/pid"
ip link set lo up
mkdir -p /etc/docker
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /etc/docker
exec unshare --pid --fork --kill-child --mount-proc dockerd \
    --data-root "$1/data" --exec-root "$1/exec" --pidfile "$1/dockerd.pid" --host "unix://$1/docker.sock"
"#;

const PATIENCE: Duration = Duration::from_secs(60);

/// The address of the host in the default network of the engine.
pub const HOST: &str = "172.17.0.1";

/// A running engine.
#[derive(Debug)]
pub struct Engine {
    process: Option<Process>,
    folder: TempDir,
}

impl Engine {
    /// Starts an engine without images. Returns the reason in one line if this machine cannot run one.
    pub fn start() -> Result<Self, String> {
        if let Some(program) = PROGRAMS.iter().find(|program| !is_installed(program)) {
            return Err(format!("{program} is not installed (tools/setup --system installs it)"));
        }
        let user = Command::new("id").arg("-u").output().unwrap().stdout;
        if user.trim_ascii() != b"0" {
            return Err("a container engine requires root".to_owned());
        }
        let folder = TempDir::new().unwrap();
        let path = folder.path().to_str().unwrap();
        let arguments = ["--mount", "--net", "sh", "-c", SCRIPT, "engine", path];
        let mut process = Process::start(Path::new("unshare"), &arguments, &[("HOME", path)], folder.path());
        let start = Instant::now();
        while UnixStream::connect(folder.path().join("docker.sock")).is_err() {
            if process.has_ended() || start.elapsed() > PATIENCE {
                let log = process.log();
                let reason = log.lines().last().unwrap_or("it printed nothing").to_owned();
                return Err(format!("dockerd does not start: {reason}"));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(Self { process: Some(process), folder })
    }

    /// Imports the file system of [`base_image`] as an image of this engine only.
    pub fn import(&self, base_image: &Path, name: &str, tag: &str) {
        let script = "import docker, sys\n\
                      docker.APIClient(sys.argv[1]).import_image_from_file(*sys.argv[2:])";
        let mut command = Command::new(tool("sam/bin/python"));
        command.args(["-c", script, &self.socket()]).arg(base_image).args([name, tag]);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Returns a command that runs a program in the network of the engine.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.args(self.enter()).arg(program);
        command
    }

    /// Starts a server in the network of the engine. Its files are in the folder of the engine.
    pub fn server(&self, program: &Path, arguments: &[&str]) -> Process {
        let enter = self.enter();
        let mut all: Vec<_> = enter.iter().map(String::as_str).collect();
        all.push(program.to_str().unwrap());
        all.extend(arguments);
        let folder = self.folder.path().join("server");
        std::fs::create_dir(&folder).unwrap();
        Process::start(Path::new("nsenter"), &all, &[("HOME", folder.to_str().unwrap())], &folder)
    }

    /// Returns the value of `DOCKER_HOST` for this engine.
    pub fn socket(&self) -> String {
        format!("unix://{}/docker.sock", self.folder.path().display())
    }

    fn enter(&self) -> [String; 4] {
        let id = std::fs::read_to_string(self.folder.path().join("pid")).unwrap();
        ["--target", id.trim(), "--net", "--"].map(str::to_owned)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        drop(self.process.take());
        // The kernel ends the containers and releases their mounts shortly after the engine.
        let start = Instant::now();
        while std::fs::remove_dir_all(self.folder.path()).is_err() && start.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// Returns the file system of a minimal Debian, and creates it on the first call on this machine.
pub fn base_image() -> PathBuf {
    let output = Command::new(root().join("tests/base-image")).stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success(), "tests/base-image: {}", output.status);
    PathBuf::from(String::from_utf8(output.stdout).unwrap().trim_end())
}

fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}
