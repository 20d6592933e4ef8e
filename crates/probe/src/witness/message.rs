//! What client and witness say to each other over the control channel: lines of JSON, bounded.
//!
//! ```text
//! client                               witness
//!   hello (nonce, wishes)  ─────────►
//!                          ◄─────────  session (id, ports, rounds)   or refusal
//!   … connections to the data ports, each saying its token …
//!   done                   ─────────►
//!                          ◄─────────  report (signed)               or refusal
//! ```

use std::{io, net::IpAddr, time::Duration};

use hoofbeat_observation::{Scheme, Service, SignedReport, WitnessService};
use hoofbeat_session::Protocol;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _};

/// The version of these messages.
pub const PROTOCOL: &str = "hoofbeat.witness/1";
/// Longest line of a client, in bytes.
pub const LONGEST_REQUEST: u64 = 2 << 10;
/// Mail servers that one session may ask the witness to look at.
pub const MOST_LOOKS: usize = 4;
/// How long a look may take: greeting delays and tarpits are waited for, silence is not.
pub const LOOK_LIMIT: Duration = Duration::from_secs(20);
/// Longest line of a witness, in bytes: a session's connections at their bounds, as base64.
pub const LONGEST_ANSWER: u64 = 8 << 20;

/// From the client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "kebab-case")]
pub enum Request {
    /// Opens a session.
    Hello(Hello),
    /// Everything was done; asks for the report.
    Done,
}

/// The client's opening words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Always [`PROTOCOL`].
    pub protocol: String,
    /// The program, such as `hoofbeat 0.1.0`.
    pub tool: String,
    /// A random number that the report must repeat, 32 hexadecimal digits.
    pub nonce: String,
    /// Whether the client's address is to be shortened in the report.
    #[serde(default)]
    pub shorten: bool,
    /// Whether the witness shall trace towards the client.
    #[serde(default)]
    pub trace: bool,
    /// Mail servers at which the witness shall look from where it stands, pinned to an address.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub look: Vec<Service>,
}

/// From the witness.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "kebab-case")]
pub enum Answer {
    /// The session stands.
    Session(Session),
    /// What was seen; ends the session.
    Report {
        /// Under the witness's signature.
        report: SignedReport,
    },
    /// The witness will not; ends the connection.
    Refusal {
        /// Why, as a sentence.
        why: String,
    },
}

/// A session as the witness opened it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Its identifier; tokens begin with it.
    pub session: String,
    /// The program, such as `hoofbeat 0.1.0`.
    pub tool: String,
    /// The key that will sign, base64 of 32 bytes.
    pub key: String,
    /// The client's address as it arrived.
    pub client: IpAddr,
    /// What the witness serves.
    pub ports: Vec<Served>,
    /// How often the client shall ask for capabilities in a traced dialogue; 0: the witness does not trace.
    #[serde(default)]
    pub rounds: u8,
    /// How many connections of a session are kept.
    pub most_connections: u16,
    /// How long the session stands, in seconds.
    pub expires_in: u32,
}

/// One port and what is behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Served {
    /// What.
    #[serde(flatten)]
    pub service: WitnessService,
    /// Where.
    pub port: u16,
}

impl Session {
    /// The ports of a mail protocol.
    pub fn mail_ports(&self, protocol: Protocol) -> impl Iterator<Item = u16> {
        self.of(WitnessService::Mail { protocol })
    }

    /// The ports of a service, in the witness's order.
    pub fn of(&self, service: WitnessService) -> impl Iterator<Item = u16> {
        self.ports
            .iter()
            .filter(move |served| served.service == service)
            .map(|served| served.port)
    }

    /// Every mail service, by the scheme that its port suggests.
    #[must_use]
    pub fn schemes(&self) -> Vec<(Scheme, u16)> {
        let scheme = |served: &Served| match served.service {
            WitnessService::Mail { protocol } => {
                let by_port = Scheme::of_port(served.port)
                    .filter(|scheme| scheme.protocol() == protocol && !scheme.is_implicit_tls());
                Some((by_port.or_else(|| plain(protocol))?, served.port))
            }
            _ => None,
        };
        self.ports.iter().filter_map(scheme).collect()
    }
}

/// The scheme that begins in the clear.
fn plain(protocol: Protocol) -> Option<Scheme> {
    Scheme::ALL
        .into_iter()
        .find(|scheme| scheme.protocol() == protocol && !scheme.is_implicit_tls())
}

/// Why a line is no message.
#[derive(Debug, thiserror::Error)]
pub enum MessageError {
    /// The connection failed.
    #[error("the control channel broke: {0}")]
    Io(#[from] io::Error),
    /// It ended, before or within a line.
    #[error("the control channel was closed")]
    Closed,
    /// The line is longer than any message.
    #[error("the other end's message is too long")]
    TooLong,
    /// It is not JSON, or none of the messages.
    #[error("the other end's message cannot be read: {0}")]
    Unreadable(#[from] serde_json::Error),
}

/// Reads one message.
///
/// # Errors
/// When the connection ends, or the line is too long or no message.
pub async fn read<M, R>(stream: &mut R, longest: u64) -> Result<M, MessageError>
where
    M: for<'de> Deserialize<'de>,
    R: AsyncBufRead + Unpin,
{
    let mut line = Vec::new();
    stream.take(longest).read_until(b'\n', &mut line).await?;
    if line.last() != Some(&b'\n') {
        let full = u64::try_from(line.len()).is_ok_and(|length| length >= longest);
        return Err(if full {
            MessageError::TooLong
        } else {
            MessageError::Closed
        });
    }
    Ok(parse(&line)?)
}

/// Reads one message from its line.
///
/// # Errors
/// When it is none.
pub fn parse<M: for<'de> Deserialize<'de>>(line: &[u8]) -> Result<M, serde_json::Error> {
    serde_json::from_slice(line)
}

/// A message as one line.
///
/// # Errors
/// Only those of the serializer, which has none for these messages.
pub fn line<M: Serialize>(message: &M) -> Result<Vec<u8>, serde_json::Error> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    Ok(line)
}

/// Whether a nonce is one: 32 hexadecimal digits.
#[must_use]
pub fn is_nonce(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hello() -> Request {
        Request::Hello(Hello {
            protocol: PROTOCOL.to_owned(),
            tool: "test".to_owned(),
            nonce: "0".repeat(32),
            shorten: true,
            trace: false,
            look: Vec::new(),
        })
    }

    #[tokio::test]
    async fn lines_are_bounded_and_whole() {
        let line = line(&hello()).unwrap();
        let mut stream = &line[..];
        assert_eq!(
            read::<Request, _>(&mut stream, LONGEST_REQUEST)
                .await
                .unwrap(),
            hello()
        );
        let closed = read::<Request, _>(&mut &line[..9], LONGEST_REQUEST).await;
        assert!(matches!(closed, Err(MessageError::Closed)));
        let long = vec![b'{'; 5000];
        let refused = read::<Request, _>(&mut &long[..], LONGEST_REQUEST).await;
        assert!(matches!(refused, Err(MessageError::TooLong)));
        let nonsense = read::<Request, _>(&mut &b"{\"say\":\"what\"}\n"[..], LONGEST_REQUEST).await;
        assert!(matches!(nonsense, Err(MessageError::Unreadable(_))));
    }

    #[test]
    fn ports_have_schemes() {
        let mail = |protocol, port| Served {
            service: WitnessService::Mail { protocol },
            port,
        };
        let session = Session {
            session: String::new(),
            tool: String::new(),
            key: String::new(),
            client: IpAddr::from([192, 0, 2, 1]),
            ports: vec![
                mail(Protocol::Smtp, 25),
                mail(Protocol::Smtp, 587),
                mail(Protocol::Smtp, 2525),
                mail(Protocol::Imap, 465),
                Served {
                    service: WitnessService::Http,
                    port: 80,
                },
            ],
            rounds: 0,
            most_connections: 1,
            expires_in: 1,
        };
        let schemes = [
            (Scheme::Smtp, 25),
            (Scheme::Submission, 587),
            (Scheme::Smtp, 2525),
            (Scheme::Imap, 465),
        ];
        assert_eq!(session.schemes(), schemes);
        assert_eq!(session.of(WitnessService::Http).collect::<Vec<_>>(), [80]);
        let written = line(&Answer::Session(session.clone())).unwrap();
        assert_eq!(parse::<Answer>(&written).unwrap(), Answer::Session(session));
    }

    proptest! {
        #[test]
        fn any_line_is_read_or_refused(bytes: Vec<u8>, text in "\\{\"say\":\"(hello|done|session|report|refusal)\".{0,60}\\}") {
            for line in [bytes.as_slice(), text.as_bytes()] {
                let _ = parse::<Request>(line);
                let _ = parse::<Answer>(line);
            }
        }
    }
}
