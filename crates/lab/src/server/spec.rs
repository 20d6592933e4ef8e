//! What a lab server is like, as a scenario writes it down. Only data; it must not act.

use serde::Deserialize;

use crate::authority::{CertificateKind, Versions};
use crate::protocol::Protocol;

/// The program whose words the server uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Dialect {
    /// Postfix 3.9 and later: unknown verbs get 500.
    Postfix,
    /// Postfix up to the 3.x of Debian 12: unknown verbs get 502.
    PostfixOld,
    /// Exim 4.
    Exim,
    /// Sendmail 8: echoes an unknown verb.
    Sendmail,
    /// Exchange 2013 and later: echoes an unknown verb.
    Exchange,
    /// Cisco Email Security Appliance: hangs up after five bad verbs.
    CiscoEsa,
    /// netqmail with the TLS patch.
    Qmail,
    /// Haraka.
    Haraka,
    /// A submission service that never had TLS (Verizon's 533).
    Verizon,
    /// Dovecot for IMAP, POP3, ManageSieve (Pigeonhole) and LMTP.
    Dovecot,
    /// Courier for IMAP and POP3.
    Courier,
    /// A small server of no known make. Its words for the unknown are those that half the world uses.
    Plain,
}

/// What becomes of STARTTLS, STLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Starttls {
    /// Advertised, and it works.
    #[default]
    Offered,
    /// Not advertised; the verb gets the dialect's "not available" reply (switched off, or hidden from this client:
    /// the wire is the same).
    Hidden,
    /// Not advertised, yet the verb works.
    HiddenWorks,
    /// A build without TLS: the verb is unknown to it.
    Absent,
    /// Advertised, but the verb gets the temporary refusal (454).
    Unavailable,
    /// Advertised, agreed to, and then it fails by itself: see [`Breakage`].
    Broken,
}

/// How a server fails after it has agreed to start TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Breakage {
    /// Closes in order when the ClientHello arrives.
    #[default]
    Close,
    /// Resets the connection when the ClientHello arrives.
    Reset,
    /// Answers in its dialect's plain words instead of a ServerHello.
    Plaintext,
    /// Sends the TLS alert internal_error.
    Alert,
    /// Sends the TLS alert protocol_version, as one does that speaks TLS 1.0 only.
    OldTls,
}

/// When a way to log in is offered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AuthOffer {
    /// As the scheme's usual server does: never on port 25 and in LMTP, inside TLS elsewhere.
    #[default]
    Usual,
    /// Never.
    Never,
    /// Only inside TLS.
    AfterTls,
    /// Already in the clear.
    BeforeTls,
}

/// The letter case in which STARTTLS is advertised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeywordCase {
    /// `STARTTLS`.
    #[default]
    Upper,
    /// `starttls`.
    Lower,
    /// `StartTLS`.
    Mixed,
}

/// Where STARTTLS stands among the keywords.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// Where the dialect has it.
    #[default]
    Usual,
    /// First keyword.
    First,
    /// Last keyword.
    Last,
}

/// Cuts the capability reply into segments.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SplitReply {
    /// Byte offsets within the reply at which a new segment begins.
    pub at: Vec<usize>,
    /// Pause before each further segment, milliseconds (at most 2000).
    pub pause_ms: u64,
}

/// One server. Every field has an innocent default: an offered, working STARTTLS with a good certificate.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct ServerSpec {
    /// The dialect; without one, Postfix for SMTP and Dovecot for the others.
    pub dialect: Option<Dialect>,
    /// The name in banner and EHLO reply. The certificate names it too.
    pub host: String,
    /// What becomes of STARTTLS.
    pub starttls: Starttls,
    /// How it breaks, with `starttls = "broken"`.
    pub breakage: Breakage,
    /// The certificate.
    pub certificate: CertificateKind,
    /// The TLS versions it speaks.
    pub versions: Versions,
    /// When it offers to log in.
    pub auth: AuthOffer,
    /// IMAP: whether LOGINDISABLED is shown before TLS when STARTTLS is offered.
    pub login_disabled: bool,
    /// IMAP: greets with PREAUTH.
    pub preauth: bool,
    /// Executes, inside TLS, plaintext that was buffered across STARTTLS (the CVE-2011-0411 class).
    pub executes_injected: bool,
    /// Silence before the greeting, milliseconds (postscreen waits 6,000, some sites 15,000).
    pub greeting_delay_ms: u64,
    /// SMTP: lines sent as `220-` before the delay, as postscreen's teaser.
    pub teaser: Option<String>,
    /// Greets with this instead (a 421, a `-ERR`, a `* BYE`) and closes.
    pub turned_away: Option<String>,
    /// Answers the first RCPT of a client with 450 (greylisting).
    pub greylists: bool,
    /// Pause after every byte sent in plaintext, milliseconds.
    pub tarpit_ms: u64,
    /// Cuts the capability reply.
    pub split: Option<SplitReply>,
    /// Stops offering STARTTLS to an address after one failed handshake from it (Haraka).
    pub remembers_failures: bool,
    /// A pool: STARTTLS only on every other connection, the first included.
    pub pool: bool,
    /// Hides STARTTLS from IPv4 clients and offers it to IPv6 ones.
    pub hides_from_ipv4: bool,
    /// Further lines of a multi-line greeting, sent before the last one.
    pub banner_lines: Vec<String>,
    /// Replaces the greeting's text after the code.
    pub banner: Option<String>,
    /// The advertised keyword's letter case.
    pub keyword_case: KeywordCase,
    /// The advertised keyword's place.
    pub keyword_place: Place,
    /// Further capability keywords, added at the end.
    pub extra_keywords: Vec<String>,
    /// SMTP: refuses EHLO, so that only HELO remains.
    pub refuses_ehlo: bool,
}

impl Default for ServerSpec {
    fn default() -> Self {
        Self {
            dialect: None,
            host: "mx.lab.example".to_owned(),
            starttls: Starttls::Offered,
            breakage: Breakage::Close,
            certificate: CertificateKind::Good,
            versions: Versions::Modern,
            auth: AuthOffer::Usual,
            login_disabled: true,
            preauth: false,
            executes_injected: false,
            greeting_delay_ms: 0,
            teaser: None,
            turned_away: None,
            greylists: false,
            tarpit_ms: 0,
            split: None,
            remembers_failures: false,
            pool: false,
            hides_from_ipv4: false,
            banner_lines: Vec::new(),
            banner: None,
            keyword_case: KeywordCase::Upper,
            keyword_place: Place::Usual,
            extra_keywords: Vec::new(),
            refuses_ehlo: false,
        }
    }
}

impl ServerSpec {
    /// A clean server of another operator with other software: what it shares with the checked one was put
    /// there by something between.
    pub(crate) fn control(protocol: Protocol) -> Self {
        let dialect = match protocol {
            Protocol::Smtp => Some(Dialect::Exim),
            Protocol::Imap | Protocol::Pop3 => Some(Dialect::Courier),
            Protocol::Lmtp | Protocol::Sieve => None,
        };
        Self {
            dialect,
            host: "control.lab.example".to_owned(),
            ..Self::default()
        }
    }

    pub(crate) fn dialect_for(&self, protocol: Protocol) -> Dialect {
        self.dialect.unwrap_or(match protocol {
            Protocol::Smtp => Dialect::Postfix,
            _ => Dialect::Dovecot,
        })
    }

    /// The advertised keyword in this server's letter case.
    pub(crate) fn cased(&self, keyword: &str) -> String {
        match self.keyword_case {
            KeywordCase::Upper => keyword.to_owned(),
            KeywordCase::Lower => keyword.to_ascii_lowercase(),
            KeywordCase::Mixed => keyword
                .replacen("START", "Start", 1)
                .replacen("STLS", "Stls", 1),
        }
    }
}
