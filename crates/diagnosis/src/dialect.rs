//! How known mail servers word their replies: reviewed data, one place.
//!
//! Used in two ways. A refusal that is the server's own, word for word, clears everybody in between. A
//! refusal that this server cannot have worded is a contradiction, if, and only if, the rest of the same
//! session shows which server it is. A dialect that is not listed here accuses nobody.
//!
//! `authoritative` is set only where the replies to STARTTLS were read in source code: Postfix
//! `smtpd.c` (`starttls_cmd`, `smtpd_proto`) and `postscreen_starttls.c`, Exim `smtp_in.c`, Sendmail
//! `srvrsmtp.c`, Dovecot's login processes for IMAP, POP3 and ManageSieve; several versions, never all.
//! The other entries are field transcripts and public documents, good for recognising, not for accusing.
//!
//! What reading taught, and guessing had got wrong: a Postfix milter may refuse STARTTLS with any 5xx text
//! (a 4xx of its is turned into `454 4.3.0`); a Postfix without TLS may call STARTTLS unknown; HELO
//! restrictions may refuse EHLO; `smtpd_noop_commands` answers `250 2.0.0 Ok`; Exim's ACLs word freely.

use hoofbeat_session::Protocol;

use crate::pattern;

/// What a server's own refusal of STARTTLS says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The verb arrived; TLS is not available to this client.
    Off,
    /// The verb arrived; TLS is there but was not advertised to this client.
    NotAdvertised,
    /// The verb arrived; TLS is broken or overloaded for now.
    Busy,
    /// The verb was not recognised.
    Unknown,
}

/// Which replies to STARTTLS come from a closed set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fixed {
    /// None: settings and filters word them, or not all were read.
    No,
    /// Temporary refusals and 3xx; a permanent one may be a filter's.
    Temporary,
    /// All of them.
    All,
}

/// One server's wording.
#[derive(Debug)]
pub(crate) struct Dialect {
    /// As reports name it.
    pub(crate) name: &'static str,
    /// In which language.
    pub(crate) protocol: Protocol,
    /// Greetings that name it, unmistakably.
    pub(crate) greeting: &'static [&'static str],
    /// Replies to NOOP.
    pub(crate) noop: &'static [&'static str],
    /// Replies to QUIT or LOGOUT.
    pub(crate) quit: &'static [&'static str],
    /// Replies to a verb that it does not know.
    pub(crate) unknown: &'static [&'static str],
    /// Those of them that programs say which share nothing else with it: alone they name nobody.
    pub(crate) commonplace: &'static [&'static str],
    /// Refusals of STARTTLS where TLS is off.
    pub(crate) off: &'static [&'static str],
    /// Refusals of STARTTLS where TLS is there and was not advertised.
    pub(crate) not_advertised: &'static [&'static str],
    /// Temporary refusals of STARTTLS.
    pub(crate) busy: &'static [&'static str],
    /// Words for the unknown that no build gives to STARTTLS, with TLS or without.
    pub(crate) never_for_starttls: &'static [&'static str],
    /// It answers STARTTLS before it touches its TLS library: it cannot hang or crash there.
    pub(crate) answers_at_once: bool,
    /// Its refusals carry enhanced status codes (RFC 2034).
    pub(crate) enhanced: bool,
    /// The refusals above were read in its source: enough to weigh another one against.
    pub(crate) authoritative: bool,
    /// Which of them no setting can word otherwise: another one is foreign.
    pub(crate) fixed: Fixed,
    /// Keywords it may list, in its order.
    pub(crate) list: &'static [&'static str],
    /// Keywords that it lists in every default configuration.
    pub(crate) always: &'static [&'static str],
}

impl Dialect {
    /// What this server would mean by that line in answer to STARTTLS; `None` if it never says so.
    pub(crate) fn refusal(&self, line: &str) -> Option<Refusal> {
        [
            (self.off, Refusal::Off),
            (self.not_advertised, Refusal::NotAdvertised),
            (self.busy, Refusal::Busy),
            (self.unknown, Refusal::Unknown),
        ]
        .into_iter()
        .find_map(|(patterns, refusal)| pattern::any(patterns, line).then_some(refusal))
    }
}

const NONE: Dialect = Dialect {
    name: "",
    protocol: Protocol::Smtp,
    greeting: &[],
    noop: &[],
    quit: &[],
    unknown: &[],
    commonplace: &[],
    off: &[],
    not_advertised: &[],
    busy: &[],
    never_for_starttls: &[],
    answers_at_once: false,
    enhanced: false,
    authoritative: false,
    fixed: Fixed::No,
    list: &[],
    always: &[],
};

/// Every dialect.
pub(crate) static DIALECTS: &[Dialect] = &[
    Dialect {
        name: "Postfix",
        greeting: &["220 % ESMTP Postfix%", "220 % Postfix", "220 % Postfix (%)"],
        noop: &["250 2.0.0 Ok", "250 Ok"],
        quit: &["221 2.0.0 Bye", "221 Bye"],
        unknown: &[
            "500 5.5.2 Error: command not recognized",
            "502 5.5.2 Error: command not recognized",
            "502 Error: command not recognized",
            "500 Error: command not recognized",
        ],
        off: &[
            "502 5.5.1 Error: command not implemented",
            "502 Error: command not implemented",
        ],
        busy: &[
            "454 4.7.0 TLS not available due to local problem",
            "454 4.7.0 Error: too many new TLS sessions from %",
            "454 4.3.0 Try again later",
            "454 4.3.0 %",
            "421 4.7.0 %",
            "421 4.3.0 %",
            "554 5.5.1 Error: TLS already active",
            "501 5.5.4 Syntax: STARTTLS",
        ],
        never_for_starttls: &["500 5.5.2 Error: command not recognized"],
        answers_at_once: true,
        enhanced: true,
        authoritative: true,
        fixed: Fixed::Temporary,
        list: &[
            "PIPELINING",
            "SIZE",
            "VRFY",
            "ETRN",
            "STARTTLS",
            "AUTH",
            "XCLIENT",
            "XFORWARD",
            "ENHANCEDSTATUSCODES",
            "8BITMIME",
            "DSN",
            "SMTPUTF8",
            "CHUNKING",
            "REQUIRETLS",
        ],
        always: &["PIPELINING", "8BITMIME", "ENHANCEDSTATUSCODES"],
        ..NONE
    },
    Dialect {
        name: "Exim",
        greeting: &["220 % ESMTP Exim %"],
        noop: &["250 OK"],
        quit: &["221 % closing connection"],
        unknown: &["500 unrecognized command"],
        commonplace: &["500 unrecognized command"],
        not_advertised: &["503 STARTTLS command used when not advertised"],
        busy: &[
            "454 TLS currently unavailable",
            "421 %",
            "554 Already in TLS",
            "554 Security failure",
            "501 %",
        ],
        authoritative: true,
        list: &[
            "SIZE",
            "LIMITS",
            "8BITMIME",
            "DSN",
            "ETRN",
            "EXPN",
            "PIPELINING",
            "PIPECONNECT",
            "PIPE_CONNECT",
            "AUTH",
            "CHUNKING",
            "STARTTLS",
            "PRDR",
            "SMTPUTF8",
            "HELP",
        ],
        always: &["PIPELINING"],
        ..NONE
    },
    Dialect {
        name: "Sendmail",
        greeting: &["220 % ESMTP Sendmail %"],
        noop: &["250 2.0.0 OK"],
        quit: &["221 2.0.0 % closing connection"],
        unknown: &["500 5.5.1 Command unrecognized: %"],
        off: &["503 5.5.0 TLS not available"],
        busy: &[
            "454 4.3.3 TLS not available%",
            "454 4.3.3 %",
            "454 4.3.0 %",
            "454 4.7.0 %",
            "454 4.7.1 %",
            "503 5.5.0 TLS already active",
            "503 5.5.0 TLS not permitted during a mail transaction",
            "501 5.5.2 Syntax error (no parameters allowed)",
            "421 %",
        ],
        enhanced: true,
        authoritative: true,
        list: &[
            "ENHANCEDSTATUSCODES",
            "PIPELINING",
            "EXPN",
            "VERB",
            "8BITMIME",
            "SIZE",
            "DSN",
            "ETRN",
            "AUTH",
            "STARTTLS",
            "DELIVERBY",
            "HELP",
        ],
        always: &["ENHANCEDSTATUSCODES", "8BITMIME"],
        ..NONE
    },
    Dialect {
        name: "Exchange",
        greeting: &["220 % Microsoft ESMTP MAIL Service%"],
        noop: &["250 2.0.0 OK"],
        quit: &["221 2.0.0 Service closing transmission channel"],
        unknown: &["500 5.3.3 Unrecognized command%"],
        enhanced: true,
        list: &[
            "SIZE",
            "PIPELINING",
            "DSN",
            "ENHANCEDSTATUSCODES",
            "STARTTLS",
            "X-ANONYMOUSTLS",
            "AUTH",
            "X-EXPS",
            "8BITMIME",
            "BINARYMIME",
            "CHUNKING",
            "XEXCH50",
            "SMTPUTF8",
            "XRDST",
        ],
        always: &["PIPELINING", "8BITMIME", "ENHANCEDSTATUSCODES"],
        ..NONE
    },
    Dialect {
        name: "qmail",
        noop: &["250 ok"],
        unknown: &["502 unimplemented (#5.5.1)"],
        busy: &["454 TLS %(#4.%)", "454 %(#4.%)"],
        list: &["STARTTLS", "AUTH", "PIPELINING", "8BITMIME", "SIZE"],
        ..NONE
    },
    Dialect {
        name: "Cisco ESA",
        unknown: &["500 #5.5.1 command not recognized"],
        list: &["8BITMIME", "SIZE", "STARTTLS"],
        ..NONE
    },
    Dialect {
        name: "OpenSMTPD",
        greeting: &["220 % ESMTP OpenSMTPD"],
        noop: &["250 2.0.0 Ok"],
        quit: &["221 2.0.0 Bye"],
        unknown: &["500 5.5.1 Invalid command: Command unrecognized"],
        off: &["503 5.5.1 Invalid command: Command not supported"],
        enhanced: true,
        list: &[
            "8BITMIME",
            "ENHANCEDSTATUSCODES",
            "SIZE",
            "DSN",
            "STARTTLS",
            "AUTH",
            "HELP",
        ],
        ..NONE
    },
    Dialect {
        name: "Haraka",
        greeting: &["220 % ESMTP Haraka %"],
        noop: &["250 OK"],
        quit: &["221 % closing connection. %"],
        unknown: &["500 Unrecognized command"],
        busy: &["454 TLS not available%"],
        list: &[
            "PIPELINING",
            "8BITMIME",
            "SMTPUTF8",
            "SIZE",
            "STARTTLS",
            "AUTH",
        ],
        ..NONE
    },
    Dialect {
        name: "aiosmtpd",
        greeting: &["220 % Python SMTP %"],
        unknown: &["500 Error: command \"%\" not recognized"],
        off: &["454 TLS not available"],
        list: &["SIZE", "8BITMIME", "SMTPUTF8", "STARTTLS", "AUTH", "HELP"],
        ..NONE
    },
    Dialect {
        name: "Dovecot",
        protocol: Protocol::Lmtp,
        greeting: &["220 % Dovecot%ready."],
        noop: &["250 2.0.0 OK"],
        quit: &["221 2.0.0 Bye"],
        unknown: &[
            "500 5.5.2 Unknown command",
            "502 5.5.2 Unknown command",
            "502 5.5.1 Unknown command",
        ],
        off: &[
            "502 5.5.1 TLS support is not enabled.",
            "502 5.5.1 TLS not supported",
            "502 5.5.1 Unsupported command",
        ],
        enhanced: true,
        list: &[
            "8BITMIME",
            "CHUNKING",
            "ENHANCEDSTATUSCODES",
            "PIPELINING",
            "STARTTLS",
            "XCLIENT",
        ],
        ..NONE
    },
    Dialect {
        name: "Dovecot",
        protocol: Protocol::Imap,
        greeting: &["OK %Dovecot%ready.%"],
        unknown: &[
            "BAD Unknown command.%",
            "BAD Error in IMAP command received by server.%",
            "BAD Error in IMAP command %",
        ],
        commonplace: &["BAD Unknown command.%"],
        off: &["BAD TLS support isn't enabled."],
        quit: &["OK Logout completed%"],
        busy: &[
            "NO TLS initialization failed.",
            "BAD TLS is already active.",
            "NO [UNAVAILABLE] %",
        ],
        never_for_starttls: &[
            "BAD Unknown command.%",
            "BAD Error in IMAP command received by server.%",
            "BAD Error in IMAP command %",
        ],
        answers_at_once: true,
        authoritative: true,
        fixed: Fixed::All,
        list: &[
            "IMAP4REV1",
            "SASL-IR",
            "LOGIN-REFERRALS",
            "ID",
            "ENABLE",
            "IDLE",
            "LITERAL+",
            "STARTTLS",
            "LOGINDISABLED",
            "AUTH=PLAIN",
            "AUTH=LOGIN",
        ],
        always: &["IMAP4REV1"],
        ..NONE
    },
    Dialect {
        name: "Cyrus",
        protocol: Protocol::Imap,
        greeting: &["OK % Cyrus IMAP % server ready%", "OK % Cyrus IMAP%ready"],
        unknown: &["BAD Unrecognized command", "BAD Please login first"],
        busy: &[
            "NO Starttls negotiation failed",
            "NO Error initializing TLS",
        ],
        ..NONE
    },
    Dialect {
        name: "Courier",
        protocol: Protocol::Imap,
        greeting: &["OK %Courier-IMAP ready.%"],
        unknown: &[
            "BAD Invalid command",
            "NO Error in IMAP command received by server.",
            "BAD Error in IMAP command received by server.",
        ],
        ..NONE
    },
    Dialect {
        name: "Exchange",
        protocol: Protocol::Imap,
        greeting: &["OK The Microsoft Exchange IMAP4 service is ready.%"],
        unknown: &[
            "BAD Command Error. %",
            "BAD Command received in Invalid state.",
        ],
        ..NONE
    },
    Dialect {
        name: "Dovecot",
        protocol: Protocol::Pop3,
        greeting: &["+OK %Dovecot%ready.%"],
        quit: &["+OK Logging out"],
        unknown: &["-ERR Unknown command."],
        commonplace: &["-ERR Unknown command."],
        off: &["-ERR TLS support isn't enabled."],
        busy: &[
            "-ERR TLS initialization failed.",
            "-ERR TLS is already active.",
            "-ERR [SYS/TEMP] %",
        ],
        never_for_starttls: &["-ERR Unknown command."],
        answers_at_once: true,
        authoritative: true,
        fixed: Fixed::All,
        list: &[
            "CAPA",
            "TOP",
            "UIDL",
            "RESP-CODES",
            "PIPELINING",
            "AUTH-RESP-CODE",
            "STLS",
            "USER",
            "SASL",
        ],
        always: &["TOP", "UIDL"],
        ..NONE
    },
    Dialect {
        name: "Courier",
        protocol: Protocol::Pop3,
        greeting: &["+OK Hello there.%"],
        unknown: &["-ERR Invalid command."],
        ..NONE
    },
    Dialect {
        name: "Cyrus",
        protocol: Protocol::Pop3,
        greeting: &["+OK % Cyrus POP3 % server ready%"],
        unknown: &["-ERR Unrecognized command"],
        ..NONE
    },
    Dialect {
        name: "Exchange",
        protocol: Protocol::Pop3,
        greeting: &["+OK The Microsoft Exchange POP3 service is ready.%"],
        unknown: &[
            "-ERR Protocol error. %",
            "-ERR Command is not valid in this state.",
        ],
        ..NONE
    },
    Dialect {
        name: "Dovecot Pigeonhole",
        protocol: Protocol::Sieve,
        greeting: &["OK \"%Dovecot%ready.\"", "OK \"Dovecot ready.\""],
        unknown: &[
            "NO \"Unknown command.\"",
            "NO \"Error in MANAGESIEVE command received by server.\"",
        ],
        commonplace: &["NO \"Unknown command.\""],
        off: &[
            "NO \"TLS support isn't enabled.\"",
            "NO \"TLS not available.\"",
        ],
        busy: &[
            "NO (TRYLATER) %",
            "NO \"TLS is already active.\"",
            "NO \"TLS initialization failed.\"",
        ],
        quit: &["OK \"Logout completed.\""],
        // A Pigeonhole built without TLS was not read; no words of its are called impossible.
        answers_at_once: true,
        authoritative: true,
        fixed: Fixed::All,
        ..NONE
    },
];

/// A keyword that any server may list before TLS: whatever else stands in a list is unknown, not suspicious.
pub(crate) static KNOWN_KEYWORDS: &[&str] = &[
    "8BITMIME",
    "ATRN",
    "AUTH",
    "BINARYMIME",
    "BURL",
    "CHECKPOINT",
    "CHUNKING",
    "CONNEG",
    "CONPERM",
    "DELIVERBY",
    "DSN",
    "ENHANCEDSTATUSCODES",
    "ETRN",
    "EXPN",
    "FUTURERELEASE",
    "HELP",
    "LIMITS",
    "MT-PRIORITY",
    "MTRK",
    "NO-SOLICITING",
    "ONEX",
    "PIPECONNECT",
    "PIPE_CONNECT",
    "PIPELINING",
    "PRDR",
    "REQUIRETLS",
    "RRVS",
    "SAML",
    "SEND",
    "SIZE",
    "SMTPUTF8",
    "SOML",
    "STARTTLS",
    "SUBMITTER",
    "TURN",
    "UTF8SMTP",
    "VERB",
    "VRFY",
    "XCLIENT",
    "XFORWARD",
];

/// Who is known to greet how: a greeting without the owner's mark comes from somebody else.
pub(crate) struct Owner {
    /// The domain under which the host's name ends.
    pub(crate) domain: &'static str,
    /// In which language.
    pub(crate) protocol: Protocol,
    /// What every greeting of theirs holds.
    pub(crate) mark: &'static str,
    /// Whose it is.
    pub(crate) name: &'static str,
}

/// Owners whose greetings were read often enough to be sure.
pub(crate) static OWNERS: &[Owner] = &[
    Owner {
        domain: "google.com",
        protocol: Protocol::Smtp,
        mark: "gsmtp",
        name: "Google",
    },
    Owner {
        domain: "googlemail.com",
        protocol: Protocol::Smtp,
        mark: "gsmtp",
        name: "Google",
    },
    Owner {
        domain: "gmail.com",
        protocol: Protocol::Smtp,
        mark: "gsmtp",
        name: "Google",
    },
    Owner {
        domain: "protection.outlook.com",
        protocol: Protocol::Smtp,
        mark: "Microsoft ESMTP MAIL Service",
        name: "Microsoft",
    },
];

/// The owner whose mark a greeting of this host must bear.
pub(crate) fn owner_of(host: &str, protocol: Protocol) -> Option<&'static Owner> {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    OWNERS.iter().find(|owner| {
        owner.protocol == protocol
            && host
                .strip_suffix(owner.domain)
                .is_some_and(|front| front.is_empty() || front.ends_with('.'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_told_apart() {
        let postfix = &DIALECTS[0];
        assert_eq!(
            postfix.refusal("502 5.5.1 Error: command not implemented"),
            Some(Refusal::Off)
        );
        assert_eq!(
            postfix.refusal("500 5.5.2 Error: command not recognized"),
            Some(Refusal::Unknown)
        );
        assert_eq!(
            postfix.refusal("454 4.7.0 TLS not available due to local problem"),
            Some(Refusal::Busy)
        );
        assert_eq!(
            postfix.refusal("454 TLS not available due to temporary reason"),
            None
        );
        let exim = &DIALECTS[1];
        assert_eq!(
            exim.refusal("503 STARTTLS command used when not advertised"),
            Some(Refusal::NotAdvertised)
        );
        let pop = DIALECTS
            .iter()
            .find(|d| d.name == "Dovecot" && d.protocol == Protocol::Pop3)
            .unwrap();
        assert_eq!(
            pop.refusal("-ERR unknown command"),
            None,
            "the attack tool's wording differs by case and stop"
        );
    }

    #[test]
    fn owners_are_found_by_whole_labels() {
        assert_eq!(
            owner_of("gmail-smtp-in.l.google.com.", Protocol::Smtp).map(|o| o.name),
            Some("Google")
        );
        assert!(owner_of("notgoogle.com", Protocol::Smtp).is_none());
        assert!(owner_of("imap.google.com", Protocol::Imap).is_none());
    }
}
