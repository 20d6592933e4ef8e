//! The reviewed catalogue: products and tools with the bytes that give them away, source and grade.
//!
//! Grades: `Source` (read in the product's source code), `Captured` (a capture or vendor text). A new entry needs a source; no entry may be a plain RFC text that an
//! honest server uses too, unless it is marked so and weighed only against a recognised dialect.

use hoofbeat_session::Protocol;

/// How well a fingerprint is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Grade {
    /// From a capture or the vendor's text.
    Captured,
    /// From the source code.
    Source,
}
impl Grade {
    /// As words of a claim.
    pub(crate) const fn words(self) -> &'static str {
        match self {
            Self::Captured => "captured in the field",
            Self::Source => "read in its source code",
        }
    }
}

/// What kind of thing greets with these words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Mail scanner on the client's own machine.
    HostScanner,
    /// A proxy that stands in the path and answers in the server's place.
    Proxy,
    /// A security gateway that passes the server's words on, edited.
    Editor,
    /// A gateway that is a mail server of its own: it may well be the domain's chosen MX.
    Gateway,
}

/// A greeting that names what answers.
#[derive(Debug)]
pub(crate) struct Greeting {
    /// The pattern of one greeting line.
    pub(crate) pattern: &'static str,
    /// In which language.
    pub(crate) protocol: Protocol,
    /// The product's identifier.
    pub(crate) product: &'static str,
    /// Its name for people.
    pub(crate) name: &'static str,
    /// What kind of thing it is.
    pub(crate) kind: Kind,
    /// How well it is known.
    pub(crate) grade: Grade,
    /// Where from.
    pub(crate) source: &'static str,
}

const fn smtp(
    pattern: &'static str,
    product: &'static str,
    name: &'static str,
    kind: Kind,
    grade: Grade,
    source: &'static str,
) -> Greeting {
    Greeting {
        pattern,
        protocol: Protocol::Smtp,
        product,
        name,
        kind,
        grade,
        source,
    }
}
const fn pop3(
    pattern: &'static str,
    product: &'static str,
    name: &'static str,
    kind: Kind,
    source: &'static str,
) -> Greeting {
    Greeting {
        pattern,
        protocol: Protocol::Pop3,
        product,
        name,
        kind,
        grade: Grade::Captured,
        source,
    }
}

const NMAP: &str = "nmap-service-probes, HEAD db4aefddf";

/// Greetings that name a product.
pub(crate) static GREETINGS: &[Greeting] = &[
    smtp(
        "220 % avast! SMTP proxy ready.",
        "avast-antivirus",
        "avast! mail shield",
        Kind::HostScanner,
        Grade::Captured,
        NMAP,
    ),
    smtp(
        "421 concurrent connection limit in avast! exceeded%",
        "avast-antivirus",
        "avast! mail shield",
        Kind::HostScanner,
        Grade::Captured,
        NMAP,
    ),
    smtp(
        "421 Cannot connect to SMTP server % (%:%), connect error %",
        "avast-antivirus",
        "avast! mail shield",
        Kind::HostScanner,
        Grade::Captured,
        "uconst.org/blog/archives/56",
    ),
    smtp(
        "220 AVG ESMTP Proxy Server %",
        "avg-antivirus",
        "AVG e-mail scanner",
        Kind::HostScanner,
        Grade::Captured,
        NMAP,
    ),
    smtp(
        "220 % ESMTP BitDefender Proxy%",
        "bitdefender-antivirus",
        "BitDefender mail proxy",
        Kind::HostScanner,
        Grade::Captured,
        NMAP,
    ),
    smtp(
        "220 % AVKSMTP Server%",
        "gdata-antivirus",
        "G Data mail proxy",
        Kind::HostScanner,
        Grade::Captured,
        NMAP,
    ),
    smtp(
        "220 UserGate: SMTP service ready",
        "usergate-proxy",
        "UserGate proxy",
        Kind::Proxy,
        Grade::Captured,
        NMAP,
    ),
    smtp(
        "220 CCProxy % SMTP Service Ready",
        "ccproxy-proxy",
        "CCProxy",
        Kind::Proxy,
        Grade::Captured,
        NMAP,
    ),
    smtp(
        "220 OutgoingFilter SMTP%",
        "drweb-smtp-proxy",
        "Dr.Web SMTP proxy",
        Kind::Proxy,
        Grade::Captured,
        NMAP,
    ),
    smtp(
        "220%SMTP Proxy, hello%",
        "smtp-gated",
        "smtp-gated",
        Kind::Proxy,
        Grade::Source,
        "vpithart/smtp-gated src/smtp-gated.c",
    ),
    smtp(
        "220 % F-Secure/fsigk_smtp/%",
        "fsecure-igk",
        "F-Secure Internet Gatekeeper",
        Kind::Editor,
        Grade::Captured,
        "manualslib 374836 p.152; nmap",
    ),
    smtp(
        "220%TrendMicro IMSS SMTP proxy%",
        "trendmicro-imss",
        "Trend Micro IMSS",
        Kind::Gateway,
        Grade::Captured,
        NMAP,
    ),
    smtp(
        "220%InterScan Version %",
        "trendmicro-imss",
        "Trend Micro InterScan",
        Kind::Gateway,
        Grade::Captured,
        NMAP,
    ),
    smtp(
        "220 CheckPoint FireWall-1 secure SMTP server%",
        "checkpoint-firewall1",
        "Check Point FireWall-1 security server",
        Kind::Gateway,
        Grade::Captured,
        NMAP,
    ),
    smtp(
        "220 CheckPoint FireWall-1 secure ESMTP server%",
        "checkpoint-firewall1",
        "Check Point FireWall-1 security server",
        Kind::Gateway,
        Grade::Captured,
        NMAP,
    ),
    smtp(
        "220 % Generic SMTP handler%",
        "symantec-raptor",
        "Symantec Enterprise Firewall (Raptor)",
        Kind::Gateway,
        Grade::Captured,
        NMAP,
    ),
    smtp(
        "220%PGP Universal service ready (proxied server greeted us with: %",
        "pgp-universal",
        "PGP Universal",
        Kind::Gateway,
        Grade::Captured,
        NMAP,
    ),
    smtp(
        "220 Ready to receive mail -=- ESMTP%",
        "pineapp-mailsecure",
        "PineApp",
        Kind::Gateway,
        Grade::Captured,
        NMAP,
    ),
    smtp(
        "220 arkoon Sendmail ready.%",
        "arkoon-firewall",
        "Arkoon firewall",
        Kind::Gateway,
        Grade::Captured,
        NMAP,
    ),
    pop3(
        "+OK avast! POP3 proxy ready.%",
        "avast-antivirus",
        "avast! mail shield",
        Kind::HostScanner,
        NMAP,
    ),
    pop3(
        "+OK AVG POP3 Proxy Server%",
        "avg-antivirus",
        "AVG e-mail scanner",
        Kind::HostScanner,
        NMAP,
    ),
    pop3(
        "-ERR AVG POP3 Proxy Server: %",
        "avg-antivirus",
        "AVG e-mail scanner",
        Kind::HostScanner,
        NMAP,
    ),
    pop3(
        "+OK POP3Proxy ready%",
        "sophos-utm",
        "Sophos UTM / Astaro POP3 proxy",
        Kind::Proxy,
        NMAP,
    ),
    pop3(
        "-ERR Not Enrolled%",
        "reivernet-portal",
        "Reivernet captive portal",
        Kind::Proxy,
        NMAP,
    ),
    Greeting {
        pattern: "OK avast! IMAP Proxy%",
        protocol: Protocol::Imap,
        product: "avast-antivirus",
        name: "avast! mail shield",
        kind: Kind::HostScanner,
        grade: Grade::Captured,
        source: NMAP,
    },
];

/// A reply that boxes or tools give in the server's place.
#[derive(Debug)]
pub(crate) struct Forged {
    /// The pattern of the deciding line; IMAP without tag.
    pub(crate) pattern: &'static str,
    /// In which language.
    pub(crate) protocol: Protocol,
    /// Whether the bytes are known of nobody else: strong without a recognised dialect.
    pub(crate) unique: bool,
    /// The product's identifier, where the bytes name one.
    pub(crate) product: Option<&'static str>,
    /// Where from.
    pub(crate) source: &'static str,
}

const fn forged(
    protocol: Protocol,
    pattern: &'static str,
    unique: bool,
    product: Option<&'static str>,
    source: &'static str,
) -> Forged {
    Forged {
        pattern,
        protocol,
        unique,
        product,
        source,
    }
}

const STRIPTLS: &str = "tintinweb/striptls";
const NOGOTOFAIL: &str = "google/nogotofail";
const EAST: &str = "Email-Analysis-Toolkit/fake-mail-server";

/// Replies that are given in the server's place, to STARTTLS unless the pattern says otherwise.
pub(crate) static FORGED: &[Forged] = &[
    forged(
        Protocol::Smtp,
        "500 Unsupported command.",
        true,
        Some("norton-antivirus"),
        "Bugtraq 2002, both-side transcript",
    ),
    forged(
        Protocol::Smtp,
        "500 Syntax error, command unrecognized",
        false,
        Some("untangle-ngfw"),
        "untangle/ngfw_src SmtpEventHandler.java",
    ),
    forged(
        Protocol::Smtp,
        "200 STRIPTLS",
        true,
        Some("striptls"),
        STRIPTLS,
    ),
    forged(
        Protocol::Smtp,
        "454 TLS not available due to temporary reason",
        false,
        None,
        "striptls, nogotofail; also the RFC 3207 text",
    ),
    forged(Protocol::Smtp, "501 Syntax error", false, None, STRIPTLS),
    forged(
        Protocol::Smtp,
        "502 Error: command \"EHLO\" not implemented",
        true,
        None,
        STRIPTLS,
    ),
    forged(
        Protocol::Smtp,
        "502 Command not implemented",
        false,
        None,
        EAST,
    ),
    forged(Protocol::Smtp, "354 do something else", true, None, EAST),
    forged(
        Protocol::Smtp,
        "502 5.5.1 Command not implemented",
        false,
        None,
        EAST,
    ),
    forged(
        Protocol::Smtp,
        "502 5.5.2 % Command not implemented",
        false,
        Some("smtp-gated"),
        "vpithart/smtp-gated src/smtp-gated.c",
    ),
    forged(
        Protocol::Smtp,
        "502 % Command not implemented",
        false,
        Some("smtp-gated"),
        "vpithart/smtp-gated src/smtp-gated.c",
    ),
    forged(
        Protocol::Pop3,
        "-ERR unknown command",
        false,
        None,
        STRIPTLS,
    ),
    forged(
        Protocol::Pop3,
        "-ERR STARTTLS not supported.",
        true,
        None,
        EAST,
    ),
    forged(Protocol::Imap, "BAD unknown command", false, None, STRIPTLS),
    forged(
        Protocol::Imap,
        "BAD STARTTLS unavailable",
        true,
        None,
        NOGOTOFAIL,
    ),
    forged(
        Protocol::Imap,
        "BAD STARTTLS not supported.",
        true,
        None,
        EAST,
    ),
    forged(Protocol::Imap, "NO do not begin TLS now.", true, None, EAST),
    forged(
        Protocol::Imap,
        "BAD do not begin TLS now.",
        true,
        None,
        EAST,
    ),
    forged(
        Protocol::Imap,
        "+ continue with something.",
        true,
        None,
        EAST,
    ),
];

/// EHLO lists that proxies give whatever server is asked for: the lines in order, the domain line included.
#[derive(Debug)]
pub(crate) struct Canned {
    /// Patterns of every line's text.
    pub(crate) lines: &'static [&'static str],
    /// The product, where known.
    pub(crate) product: Option<&'static str>,
    /// Its name for people.
    pub(crate) name: &'static str,
    /// Where from.
    pub(crate) source: &'static str,
}

/// Canned lists.
pub(crate) static CANNED: &[Canned] = &[
    Canned {
        lines: &[
            "Requested mail action okay, completed",
            "SIZE 20000000",
            "ETRN",
            "8BITMIME",
            "OK",
        ],
        product: None,
        name: "a transparent mail proxy seen since 2019 (product unknown)",
        source: "mail-in-a-box#1535 (2019)",
    },
    Canned {
        lines: &[
            "Requested mail action okay, completed",
            "SIZE 20000000",
            "8BITMIME",
        ],
        product: None,
        name: "a transparent mail proxy seen in 2026 (product unknown)",
        source: "field capture 2026, ports 25 and 587",
    },
    Canned {
        lines: &[
            "Requested mail action okay, completed",
            "SIZE 20000000",
            "8BITMIME",
            "OK",
        ],
        product: None,
        name: "a transparent mail proxy seen since 2019 (product unknown)",
        source: "mail-in-a-box#1535 (2019), variant",
    },
];

/// Lists that an editing box leaves: what it deletes and what it keeps.
#[derive(Debug)]
pub(crate) struct Deleter {
    /// The product.
    pub(crate) product: &'static str,
    /// Its name for people.
    pub(crate) name: &'static str,
    /// The only keywords that it lets pass; empty where it deletes by name.
    pub(crate) keeps: &'static [&'static str],
    /// Keywords that it deletes by name.
    pub(crate) deletes: &'static [&'static str],
    /// Where from.
    pub(crate) source: &'static str,
}

/// Known deleters.
pub(crate) static DELETERS: &[Deleter] = &[
    Deleter {
        product: "untangle-ngfw",
        name: "Untangle / Arista NG Firewall",
        keeps: &[
            "DATA",
            "HELP",
            "HELO",
            "EHLO",
            "RCPT",
            "MAIL",
            "EXPN",
            "QUIT",
            "RSET",
            "VRFY",
            "NOOP",
            "SIZE",
            "DSN",
            "DELIVERBY",
            "AUTH",
            "AUTH=LOGIN",
            "OK",
        ],
        deletes: &[],
        source: "untangle/ngfw_src SmtpEventHandler.java",
    },
    Deleter {
        product: "fsecure-igk",
        name: "F-Secure Internet Gatekeeper",
        keeps: &[],
        deletes: &["CHUNKING", "BINARYMIME", "PIPELINING", "STARTTLS"],
        source: "manualslib 374836 p.152–153",
    },
    Deleter {
        product: "balasys-zorp",
        name: "Zorp SMTP proxy",
        keeps: &["PIPELINING", "SIZE", "ETRN", "8BITMIME"],
        deletes: &[],
        source: "docs.balasys.hu ch04s10s02",
    },
];

/// An issuer under which a product signs certificates for hosts that are not its own.
#[derive(Debug)]
pub(crate) struct Interceptor {
    /// What the issuer's name holds, in lower case.
    pub(crate) mark: &'static str,
    /// The product, where the name says it.
    pub(crate) product: Option<&'static str>,
    /// Whether it runs on the client's own machine.
    pub(crate) on_host: bool,
}

/// Issuers of intercepting products (names as users report them in public; a vendor may change them).
pub(crate) static INTERCEPTORS: &[Interceptor] = &[
    Interceptor {
        mark: "avast! web/mail shield",
        product: Some("avast-antivirus"),
        on_host: true,
    },
    Interceptor {
        mark: "avast web/mail shield",
        product: Some("avast-antivirus"),
        on_host: true,
    },
    Interceptor {
        mark: "avast! mail",
        product: Some("avast-antivirus"),
        on_host: true,
    },
    Interceptor {
        mark: "avg web/mail shield",
        product: Some("avg-antivirus"),
        on_host: true,
    },
    Interceptor {
        mark: "norton web/mail shield",
        product: Some("norton-antivirus"),
        on_host: true,
    },
    Interceptor {
        mark: "mail shield root",
        product: None,
        on_host: true,
    },
    Interceptor {
        mark: "kaspersky anti-virus personal root",
        product: Some("kaspersky-antivirus"),
        on_host: true,
    },
    Interceptor {
        mark: "eset ssl filter ca",
        product: Some("eset-antivirus"),
        on_host: true,
    },
    Interceptor {
        mark: "bitdefender personal ca",
        product: Some("bitdefender-antivirus"),
        on_host: true,
    },
    Interceptor {
        mark: "g data mail",
        product: Some("gdata-antivirus"),
        on_host: true,
    },
    Interceptor {
        mark: "fortinet_ca_ssl",
        product: Some("fortinet-fortigate"),
        on_host: false,
    },
    Interceptor {
        mark: "fortigate ca",
        product: Some("fortinet-fortigate"),
        on_host: false,
    },
    Interceptor {
        mark: "o=fortinet",
        product: Some("fortinet-fortigate"),
        on_host: false,
    },
    Interceptor {
        mark: "sophos ssl ca",
        product: Some("sophos-firewall"),
        on_host: false,
    },
    Interceptor {
        mark: "sophos utm",
        product: Some("sophos-utm"),
        on_host: false,
    },
    Interceptor {
        mark: "cyberoam ssl ca",
        product: Some("cyberoam-utm"),
        on_host: false,
    },
    Interceptor {
        mark: "untangle",
        product: Some("untangle-ngfw"),
        on_host: false,
    },
    Interceptor {
        mark: "zscaler",
        product: Some("zscaler-proxy"),
        on_host: false,
    },
    Interceptor {
        mark: "sonicwall firewall dpi-ssl",
        product: Some("sonicwall-firewall"),
        on_host: false,
    },
    Interceptor {
        mark: "fireware https proxy",
        product: Some("watchguard-fireware"),
        on_host: false,
    },
    Interceptor {
        mark: "fireware proxy",
        product: Some("watchguard-fireware"),
        on_host: false,
    },
    Interceptor {
        mark: "netskope",
        product: Some("netskope-proxy"),
        on_host: false,
    },
    Interceptor {
        mark: "mitmproxy",
        product: Some("mitmproxy"),
        on_host: false,
    },
    Interceptor {
        mark: "ssl inspection",
        product: None,
        on_host: false,
    },
    Interceptor {
        mark: "tls inspection",
        product: None,
        on_host: false,
    },
    Interceptor {
        mark: "ssl interception",
        product: None,
        on_host: false,
    },
    Interceptor {
        mark: "dpi-ssl",
        product: None,
        on_host: false,
    },
];

/// The product's name for people.
pub(crate) fn name_of(product: &str) -> Option<&'static str> {
    match product {
        "cisco-asa" => Some("Cisco ASA (inspect esmtp)"),
        "cisco-pix" => Some("Cisco PIX (fixup protocol smtp)"),
        "norton-antivirus" => Some("Norton AntiVirus"),
        "kaspersky-antivirus" => Some("Kaspersky Anti-Virus"),
        "eset-antivirus" => Some("ESET mail filter"),
        "fortinet-fortigate" => Some("FortiGate (deep inspection)"),
        "sophos-firewall" => Some("Sophos firewall"),
        "zscaler-proxy" => Some("Zscaler"),
        _ => GREETINGS
            .iter()
            .find(|greeting| greeting.product == product)
            .map(|greeting| greeting.name)
            .or_else(|| {
                DELETERS
                    .iter()
                    .find(|deleter| deleter.product == product)
                    .map(|deleter| deleter.name)
            }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pattern;

    #[test]
    fn every_entry_has_a_source_and_a_lower_case_product() {
        let product_is_fine = |id: &str| {
            id.chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
        };
        for greeting in GREETINGS {
            assert!(
                !greeting.source.is_empty() && product_is_fine(greeting.product),
                "{greeting:?}"
            );
        }
        for one in FORGED {
            assert!(
                !one.source.is_empty() && one.product.is_none_or(product_is_fine),
                "{one:?}"
            );
        }
        for deleter in DELETERS {
            assert!(product_is_fine(deleter.product) && name_of(deleter.product).is_some());
            assert!(!deleter.keeps.contains(&"STARTTLS") && !deleter.source.is_empty());
        }
    }

    #[test]
    fn no_server_of_ours_greets_like_a_box() {
        for greeting in [
            "220 mx.example ESMTP Postfix (Debian/GNU)",
            "220 mx.example ESMTP Exim 4.96 Sun, 22 Nov 2026 10:00:00 +0000",
            "220 mx.example ESMTP Sendmail 8.17.1/8.17.1; Sun, 22 Nov 2026",
            "220 mx.example Microsoft ESMTP MAIL Service ready at Sun, 22 Nov 2026",
            "220 mx.google.com ESMTP 5b1f17b1804b1-38b -- gsmtp",
            "220 mx.example ESMTP Service ready",
        ] {
            assert!(
                !GREETINGS
                    .iter()
                    .any(|g| pattern::matches(g.pattern, greeting)),
                "{greeting}"
            );
        }
    }
}
