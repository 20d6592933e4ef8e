//! A server process of ours: started, waited for until it greets, stopped when dropped, gone when we are.

use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// A first start makes queue folders and TLS parameters; seen 0.3 s, under a loaded machine several seconds.
const START_WAIT: Duration = Duration::from_secs(30);
/// Dovecot takes more than 0.3 s to end.
const STOP_WAIT: Duration = Duration::from_secs(5);

pub(crate) struct Daemon {
    child: Child,
}

impl Daemon {
    /// Starts `program` as leader of its own process group (Postfix kills its group at its end) and asks the kernel to
    /// end it with this thread, should a test be killed.
    pub(crate) fn start(program: &Path, arguments: &[&str], log: &Path) -> Self {
        let output = std::fs::File::create(log).expect("a log file");
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "TERM", "--"])
            .arg(program)
            .args(arguments)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("the log file twice"))
            .stderr(output)
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        Self { child }
    }

    /// Waits until the port is open; with `greets` until the first byte of a greeting came too.
    pub(crate) fn wait_for(&mut self, port: u16, greets: bool, log: &Path) {
        let began = Instant::now();
        while began.elapsed() < START_WAIT {
            if let Ok(Some(status)) = self.child.try_wait() {
                panic!("the server ended with {status}:\n{}", text_of(log));
            }
            if answers(port, greets) {
                return;
            }
            sleep(Duration::from_millis(20));
        }
        panic!(
            "nothing on port {port} after {START_WAIT:?}:\n{}",
            text_of(log)
        );
    }

    fn signal(&self, name: &str) {
        let _ = Command::new("kill")
            .args(["-s", name, &self.child.id().to_string()])
            .stderr(Stdio::null())
            .status();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.signal("TERM");
        let began = Instant::now();
        while began.elapsed() < STOP_WAIT {
            if matches!(self.child.try_wait(), Ok(Some(_)) | Err(_)) {
                return;
            }
            sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn answers(port: u16, greets: bool) -> bool {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let Ok(mut stream) = TcpStream::connect_timeout(&address, Duration::from_secs(1)) else {
        return false;
    };
    if !greets {
        return true;
    }
    let _ = stream.set_read_timeout(Some(Duration::from_secs(10)));
    matches!(stream.read(&mut [0; 1]), Ok(1))
}

fn text_of(log: &Path) -> String {
    std::fs::read_to_string(log).unwrap_or_default()
}
