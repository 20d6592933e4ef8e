//! The plainest client there is: it sends lines and keeps what comes back. It shares no code with Hoofbeat's
//! sessions, so that what a witness offers is known independently of them.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Duration;

const SILENCE: Duration = Duration::from_secs(10);
const TEXT_MAX: usize = 64 * 1024;

/// Sends the lines and reads until the server closes; the last line should therefore be the protocol's farewell.
pub(crate) fn talk(host: &str, port: u16, lines: &[&str]) -> String {
    let mut stream = TcpStream::connect((host, port)).expect("a connection to the witness");
    stream
        .set_read_timeout(Some(SILENCE))
        .expect("a read timeout");
    let mut text = Vec::new();
    let mut chunk = [0; 4096];
    let mut unsent = lines.iter();
    // One line after each batch of replies: real servers refuse clients that talk ahead.
    while text.len() < TEXT_MAX {
        match stream.read(&mut chunk) {
            Ok(0) => break,
            Ok(n) => text.extend_from_slice(chunk.get(..n).unwrap_or_default()),
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => panic!(
                "the witness fell silent ({error}) after {:?}",
                String::from_utf8_lossy(&text)
            ),
        }
        if text.ends_with(b"\n") && is_complete(&text) {
            let Some(line) = unsent.next() else { continue };
            stream
                .write_all(format!("{line}\r\n").as_bytes())
                .expect("a sent line");
        }
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// An SMTP reply goes on while its last line has a hyphen after the code. POP3 and IMAP replies that are
/// asked for here come in one piece from a local server.
fn is_complete(text: &[u8]) -> bool {
    let last = text
        .strip_suffix(b"\n")
        .unwrap_or(text)
        .rsplit(|byte| *byte == b'\n')
        .next()
        .unwrap_or_default();
    last.get(3) != Some(&b'-') || !last.iter().take(3).all(u8::is_ascii_digit)
}

/// What `openssl s_client` (an implementation that is not ours) says of the handshake: its exit status is 0 and the chain
/// leads to `ca` with the name `localhost`.
pub(crate) fn openssl_verifies(protocol: &str, port: u16, ca: &std::path::Path) -> bool {
    let status = Command::new("openssl")
        .args([
            "s_client",
            "-brief",
            "-verify_return_error",
            "-verify_hostname",
            "localhost",
            "-starttls",
            protocol,
        ])
        .args(["-connect", &format!("127.0.0.1:{port}")])
        .arg("-CAfile")
        .arg(ca)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.expect("openssl").success()
}
