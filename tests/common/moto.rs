//! A moto server that the tests of one program share. It stops when the last test ends.

use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

pub struct Moto {
    process: Child,
    port: u16,
}

static RUNNING: Mutex<Weak<Moto>> = Mutex::new(Weak::new());

impl Moto {
    /// Returns the running server, or starts one.
    pub fn shared() -> Arc<Self> {
        // A test that fails while it starts the server poisons the lock, but leaves no partial state.
        let mut running = RUNNING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        running.upgrade().unwrap_or_else(|| {
            let moto = Arc::new(Self::start());
            *running = Arc::downgrade(&moto);
            moto
        })
    }

    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let program = program();
        let process = Command::new(&program)
            .args(["-H", "127.0.0.1", "-p", &port.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| {
                panic!("{} does not start ({error}): run ./test, which installs it", program.display())
            });
        let mut moto = Self { process, port };
        let patience = Instant::now() + Duration::from_secs(60);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if let Some(status) = moto.process.try_wait().unwrap() {
                panic!("{} ended at once ({status}): run ./test, which installs it", program.display());
            }
            assert!(Instant::now() < patience, "{} does not listen on port {port} after 60 s", program.display());
            std::thread::sleep(Duration::from_millis(50));
        }
        moto
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Returns `TRAILHOSE_MOTO`, or the program that `./test` installed, or the one on `PATH`.
fn program() -> PathBuf {
    let installed = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.tools/moto/bin/moto_server"));
    match std::env::var_os("TRAILHOSE_MOTO") {
        Some(program) => program.into(),
        None if installed.exists() => installed,
        None => "moto_server".into(),
    }
}
