//! The seam between a server's words and its socket: a dialogue takes one line and says what is to be done.
//! It must not know sockets, TLS libraries or time.

use crate::protocol::Scheme;
use crate::server::imap::Imap;
use crate::server::pop3::Pop3;
use crate::server::sieve::Sieve;
use crate::server::smtp::Smtp;
use crate::server::spec::{AuthOffer, ServerSpec, Starttls};

/// What the driver is to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    /// Send these bytes.
    Say(Vec<u8>),
    /// Send these bytes, which list the capabilities and may be cut as the spec says.
    Offer(Vec<u8>),
    /// Wait this long, milliseconds.
    Pause(u64),
    /// Read and forget this many bytes (a literal).
    Forget(usize),
    /// Start TLS; what was buffered is dropped or, by a vulnerable server, kept.
    StartTls,
    /// Close in order.
    Close,
}

/// One connection's side of the conversation.
pub(crate) trait Dialogue: Send {
    /// What is said first.
    fn greet(&mut self) -> Vec<Deed>;
    /// What one received line, without its end, brings about.
    fn line(&mut self, line: &[u8]) -> Vec<Deed>;
    /// What is said in the clear, instead of a ServerHello, by a server whose TLS fails after it agreed to start it.
    fn tls_fails(&self) -> Deed;
    /// TLS stands: forget what was said before (RFC 3207 §4.2), perhaps say something.
    fn secured(&mut self) -> Vec<Deed>;
}

/// What is true for one connection, after pools, memory and address rules were asked.
#[derive(Clone, Debug)]
pub(crate) struct Visit {
    /// The state of STARTTLS for this client, now.
    pub(crate) starttls: Starttls,
    /// Whether TLS already stands.
    pub(crate) secure: bool,
    /// Whether this client has been greylisted before.
    pub(crate) known: bool,
    /// The client's address, as text.
    pub(crate) peer: String,
    /// How the service is named.
    pub(crate) scheme: Scheme,
}

impl Visit {
    /// Whether the capability list shows STARTTLS.
    pub(crate) fn advertises(&self) -> bool {
        !self.secure
            && matches!(
                self.starttls,
                Starttls::Offered | Starttls::Unavailable | Starttls::Broken
            )
    }

    /// Whether a way to log in is shown.
    pub(crate) fn offers_auth(&self, offer: AuthOffer) -> bool {
        match offer {
            AuthOffer::Never => false,
            AuthOffer::BeforeTls => true,
            AuthOffer::AfterTls => self.secure,
            AuthOffer::Usual => self.secure && !matches!(self.scheme, Scheme::Smtp | Scheme::Lmtp),
        }
    }
}

/// The dialogue for one visit.
pub(crate) fn dialogue(spec: &ServerSpec, visit: Visit) -> Box<dyn Dialogue> {
    use crate::protocol::Protocol;
    match visit.scheme.protocol() {
        Protocol::Smtp | Protocol::Lmtp => Box::new(Smtp::new(spec.clone(), visit)),
        Protocol::Imap => Box::new(Imap::new(spec.clone(), visit)),
        Protocol::Pop3 => Box::new(Pop3::new(spec.clone(), visit)),
        Protocol::Sieve => Box::new(Sieve::new(spec.clone(), visit)),
    }
}

/// Splits a command line into its upper-cased verb and the rest, blanks trimmed.
pub(crate) fn verb_and_rest(line: &[u8]) -> (String, String) {
    let text = String::from_utf8_lossy(line);
    let text = text.trim();
    match text.split_once(char::is_whitespace) {
        Some((verb, rest)) => (verb.to_ascii_uppercase(), rest.trim().to_owned()),
        None => (text.to_ascii_uppercase(), String::new()),
    }
}

/// A line with its end.
pub(crate) fn say(line: impl AsRef<str>) -> Deed {
    Deed::Say(format!("{}\r\n", line.as_ref()).into_bytes())
}
