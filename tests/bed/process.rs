//! Server processes that end with the tests.

use std::fs::File;
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Runs a program in a separate process group with empty standard input. Kills the group, which includes the functions
/// that an emulator starts, when the program or the standard input of this shell ends. The tests hold the other end of
/// that input, so it ends with them, also when they are killed. The folder is deleted too, because a server that all
/// tests share is never dropped.
const GUARD: &str = r#"
folder=$1; shift
exec 3<&0
"$@" </dev/null 3<&- & program=$!
exec >/dev/null 2>&1
{ cat <&3; : >"$folder/ending"; kill -9 $program; } &
wait $program
[ -e "$folder/ending" ] && rm -rf "$folder"
kill -9 0
"#;

/// A running server, killed on drop.
#[derive(Debug)]
pub struct Process {
    name: String,
    guard: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a program with only this environment and `PATH`, so that the developer's AWS profile does not affect
    /// tests. Its output goes to a file in `folder`, which is deleted when the server is stopped.
    pub fn start(program: &Path, arguments: &[&str], environment: &[(&str, &str)], folder: &Path) -> Self {
        let log = folder.join("output.log");
        let output = File::create(&log).unwrap();
        let guard = Command::new("/bin/sh")
            .args(["-c", GUARD, "guard"])
            .arg(folder)
            .arg(program)
            .args(arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .envs(environment.iter().copied())
            .stdin(Stdio::piped())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .process_group(0)
            .spawn()
            .unwrap();
        let name = program.file_name().unwrap_or(program.as_os_str()).to_string_lossy().into_owned();
        Self { name, guard, log }
    }

    /// Waits until the port is open. Returns false if the program ended first, for example because the port was in use.
    pub fn listens(&mut self, port: u16, patience: Duration) -> bool {
        let start = Instant::now();
        while start.elapsed() < patience {
            if self.guard.try_wait().unwrap().is_some() {
                return false;
            }
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("{} does not listen on port {port} after {patience:?}; its output:\n{}", self.name, self.log());
    }

    /// Returns whether the program has ended.
    pub fn has_ended(&mut self) -> bool {
        self.guard.try_wait().unwrap().is_some()
    }

    /// Waits until the output contains a text. Returns false if the program ended or the time is over.
    pub fn prints(&mut self, text: &str, patience: Duration) -> bool {
        let start = Instant::now();
        while !self.log().contains(text) {
            if self.has_ended() || start.elapsed() > patience {
                return false;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        true
    }

    /// Returns the output of the program so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        // The guard kills itself with its group, so its exit status has no meaning.
        let _ = self.guard.wait();
    }
}

/// Kills at most this many processes, like a crash of their machine. `is_selected` gets their folders in `/proc`. Returns how
/// many were killed.
pub fn kill_programs(most: usize, is_selected: impl Fn(&Path) -> bool) -> usize {
    let processes = std::fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path());
    let found: Vec<_> = processes.filter(|process| is_selected(process)).take(most).collect();
    let kill = |process: &PathBuf| {
        let id = process.file_name().unwrap();
        Command::new("kill").arg("-9").arg(id).stderr(Stdio::null()).status().unwrap().success()
    };
    found.iter().filter(|process| kill(process)).count()
}

/// The first and the last port of tests. Below the range from which Linux takes the ports of outgoing connections.
const PORTS: std::ops::Range<u16> = 20_000..30_000;

/// Returns a free port that no other test gets while this program runs. A lock on a file per port excludes the tests of
/// other programs. A program that is no test may still bind the port first, so callers retry the start of a server.
pub fn free_port() -> u16 {
    static LOCKS: Mutex<Vec<File>> = Mutex::new(Vec::new());
    let folder = std::env::temp_dir().join("trailhose-test-ports");
    std::fs::create_dir_all(&folder).unwrap();
    // Programs start at different ports, so that they seldom try the same ones.
    let first = u16::try_from(std::process::id() % 10_000).unwrap();
    for port in (0..10_000).map(|step| PORTS.start + (first + step) % 10_000) {
        let lock = File::create(folder.join(port.to_string())).unwrap();
        let is_free = lock.try_lock().is_ok() && TcpListener::bind(("127.0.0.1", port)).is_ok();
        if is_free {
            LOCKS.lock().unwrap().push(lock);
            return port;
        }
    }
    panic!("no port of {PORTS:?} is free");
}
