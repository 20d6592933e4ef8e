//! The forms in which people paste or keep a dialogue, and what each of them cannot prove.
//!
//! Table-like knowledge; it must not know how a form is recognised.

/// A form of text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Form {
    /// Bare lines; who said what follows from their grammar.
    Pasted,
    /// `telnet` or `nc`.
    Telnet,
    /// `S:` and `C:`, or other marks in front.
    Marked,
    Swaks,
    SClient,
    GnutlsCli,
    Curl,
    Msmtp,
    PosttlsFinger,
    PostfixLog,
    EximLog,
    SendmailLog,
}

const LINE_ENDS: &str =
    "Line ends and exact lengths are lost: a text shows characters, not the bytes on the wire.";
const OMISSIONS: &str =
    "Lines may have been left out, shortened or retyped, and nothing in the text would show it.";
const NO_TIMING: &str =
    "There are no times: delays, resets and who closed first cannot be told apart.";
const NO_PLACE: &str = "It was recorded at one place: it shows what was said there, not where on the way it was changed.";
const WHO: &str = "Who said a line is inferred from its grammar, for nothing marks it.";
const INFERRED_TLS: &str =
    "That the lines behind STARTTLS are encrypted is inferred from their order.";
const NAME_UNCHECKED: &str = "`Verify return code: 0` concerns the chain; whether the name fits was only checked if the tool was told to.";
const HIDDEN_DIALOGUE: &str =
    "The plaintext dialogue before TLS is not shown: what was advertised stays unknown.";
const LOG_NO_BYTES: &str = "A log line is its program's word: it shows no bytes of the dialogue.";
const LOG_CONFIG: &str = "\"Untrusted\" or CV=no may only mean that the client has no list of authorities or was not told to verify.";
const LOG_SERVER_SIDE: &str =
    "Lines of the server's side also come from scanners and from clients that gave up.";

impl Form {
    /// Its name, as `Source::Text` keeps it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Pasted => "pasted dialogue",
            Self::Telnet => "telnet or nc session",
            Self::Marked => "marked dialogue",
            Self::Swaks => "swaks",
            Self::SClient => "openssl s_client",
            Self::GnutlsCli => "gnutls-cli",
            Self::Curl => "curl",
            Self::Msmtp => "msmtp",
            Self::PosttlsFinger => "posttls-finger",
            Self::PostfixLog => "postfix log",
            Self::EximLog => "exim log",
            Self::SendmailLog => "sendmail log",
        }
    }

    /// Whether each side's lines carry a mark that can be relied on.
    pub(super) const fn marks_sides(self) -> bool {
        !matches!(
            self,
            Self::Pasted | Self::Telnet | Self::SClient | Self::GnutlsCli
        )
    }

    /// Whether the tool says itself when TLS is up.
    pub(super) const fn tells_tls(self) -> bool {
        matches!(
            self,
            Self::Swaks
                | Self::SClient
                | Self::GnutlsCli
                | Self::Curl
                | Self::PosttlsFinger
                | Self::Telnet
        )
    }

    /// What a dialogue in this form cannot prove.
    pub(super) const fn limits(self) -> &'static [&'static str] {
        match self {
            Self::Pasted | Self::Telnet => &[LINE_ENDS, WHO, OMISSIONS, NO_TIMING, NO_PLACE],
            Self::Swaks | Self::Curl | Self::PosttlsFinger => {
                &[LINE_ENDS, OMISSIONS, NO_TIMING, NO_PLACE]
            }
            Self::Marked | Self::Msmtp => {
                &[LINE_ENDS, OMISSIONS, NO_TIMING, INFERRED_TLS, NO_PLACE]
            }
            Self::SClient => &[
                HIDDEN_DIALOGUE,
                NAME_UNCHECKED,
                LINE_ENDS,
                OMISSIONS,
                NO_PLACE,
            ],
            Self::GnutlsCli => &[HIDDEN_DIALOGUE, LINE_ENDS, OMISSIONS, NO_PLACE],
            Self::PostfixLog | Self::EximLog | Self::SendmailLog => {
                &[LINE_ENDS, OMISSIONS, NO_TIMING, INFERRED_TLS, NO_PLACE]
            }
        }
    }

    /// What log lines in this form cannot prove.
    pub(super) const fn log_limits(server_side: bool) -> &'static [&'static str] {
        if server_side {
            &[LOG_NO_BYTES, LOG_SERVER_SIDE, OMISSIONS, NO_PLACE]
        } else {
            &[LOG_NO_BYTES, LOG_CONFIG, OMISSIONS, NO_PLACE]
        }
    }
}
