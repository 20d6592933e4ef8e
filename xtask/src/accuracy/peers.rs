//! The tools that people use today, how each is asked, and what its answer claims.
//!
//! Each gets the lab's root certificate and is asked to verify where it can. An answer counts as what the tool *says*, not as
//! what an expert could infer from it: "did not offer STARTTLS" is a statement about the server.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use hoofbeat_lab::Scheme;

use super::State;
use crate::tool::{self, Ran};
use crate::workspace::on_path;

/// One tool.
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    program: &'static str,
    /// The Debian package that has it.
    pub(crate) package: &'static str,
    version: &'static [&'static str],
    arguments: fn(&Question<'_>) -> Option<Vec<String>>,
    claims: fn(&Ran) -> State,
}

impl Peer {
    /// testssl takes ten to twenty seconds a server: it is asked about the demo's scenarios only.
    pub(crate) fn is_slow(&self) -> bool {
        self.name == "testssl"
    }
}

/// Who is asked about.
pub(crate) struct Question<'a> {
    pub(crate) scheme: Scheme,
    pub(crate) address: SocketAddr,
    pub(crate) ca: &'a Path,
}

/// Where `posttls-finger` and the like hide when `PATH` is a user's.
const SBIN: &str = "/usr/sbin";

pub(crate) const PEERS: [Peer; 6] = [
    Peer {
        name: "swaks",
        program: "swaks",
        package: "swaks",
        version: &["--version"],
        arguments: |question| {
            let protocol = match question.scheme {
                Scheme::Smtp | Scheme::Submission => "ESMTP",
                Scheme::Lmtp => "LMTP",
                _ => return None,
            };
            let server = question.address.to_string();
            let fixed = [
                "--quit-after",
                "TLS",
                "--tls",
                "--tls-verify",
                "--timeout",
                "10",
                "--protocol",
                protocol,
            ];
            Some(words(
                &[
                    &fixed[..],
                    &["--server", &server, "--tls-ca-path", &text(question.ca)],
                ]
                .concat(),
            ))
        },
        claims: |ran| match ran.exit {
            Some(0) => State::Encrypts,
            _ if says(ran, "did not advertise STARTTLS")
                || says(ran, "certificate verify failed") =>
            {
                State::Server
            }
            _ => State::Unknown,
        },
    },
    Peer {
        name: "openssl",
        program: "openssl",
        package: "openssl",
        version: &["version"],
        arguments: |question| {
            let starttls = match question.scheme {
                Scheme::Smtp | Scheme::Submission => Some("smtp"),
                Scheme::Lmtp => Some("lmtp"),
                Scheme::Imap => Some("imap"),
                Scheme::Pop3 => Some("pop3"),
                Scheme::Sieve => Some("sieve"),
                _ => None,
            };
            let (address, ip) = (
                question.address.to_string(),
                question.address.ip().to_string(),
            );
            let mut all = words(&[
                "s_client",
                "-brief",
                "-verify_return_error",
                "-verify_ip",
                &ip,
            ]);
            all.extend(words(&[
                "-connect",
                &address,
                "-CAfile",
                &text(question.ca),
            ]));
            all.extend(
                starttls
                    .iter()
                    .flat_map(|protocol| words(&["-starttls", protocol])),
            );
            Some(all)
        },
        claims: |ran| match ran.exit {
            // Even where the server did not offer it ("trying anyway").
            Some(0) => State::Encrypts,
            _ if says(ran, "Didn't find STARTTLS") || says(ran, "certificate verify failed") => {
                State::Server
            }
            _ => State::Unknown,
        },
    },
    Peer {
        name: "sslscan",
        program: "sslscan",
        package: "sslscan",
        version: &["--version"],
        arguments: |question| {
            let starttls = match question.scheme {
                Scheme::Smtp | Scheme::Submission => Some("--starttls-smtp"),
                Scheme::Imap => Some("--starttls-imap"),
                Scheme::Pop3 => Some("--starttls-pop3"),
                Scheme::Submissions | Scheme::Imaps | Scheme::Pop3s => None,
                _ => return None,
            };
            let address = question.address.to_string();
            let fixed = [
                "--no-colour",
                "--no-heartbleed",
                "--no-fallback",
                "--no-renegotiation",
                "--no-compression",
                "--no-groups",
            ];
            let starttls: Vec<&str> = starttls.into_iter().collect();
            Some(words(&[&fixed[..], &starttls, &[&address]].concat()))
        },
        claims: |ran| {
            let enabled =
                |line: &str| line.starts_with("TLSv1") && line.trim_end().ends_with("enabled");
            let disabled =
                |line: &str| line.starts_with("TLSv1") && line.trim_end().ends_with("disabled");
            if ran.stdout.lines().any(enabled) {
                State::Encrypts
            } else if says(ran, "support STARTTLS") || ran.stdout.lines().any(disabled) {
                State::Server
            } else {
                State::Unknown
            }
        },
    },
    Peer {
        name: "nmap",
        program: "nmap",
        package: "nmap",
        version: &["--version"],
        arguments: |question| {
            let capabilities = match question.scheme {
                Scheme::Smtp | Scheme::Submission => "smtp-commands",
                Scheme::Imap => "imap-capabilities",
                Scheme::Pop3 => "pop3-capabilities",
                _ => return None,
            };
            // Scripts choose ports by the service's name, which on a high port only -sV finds out.
            let (port, host) = (
                question.address.port().to_string(),
                question.address.ip().to_string(),
            );
            let scripts = format!("{capabilities},ssl-cert");
            let fixed = [
                "-Pn",
                "-n",
                "-sV",
                "--version-intensity",
                "2",
                "--host-timeout",
                "18s",
            ];
            let family: &[&str] = if question.address.is_ipv6() {
                &["-6"]
            } else {
                &[]
            };
            Some(words(
                &[
                    &fixed[..],
                    family,
                    &["-p", &port, "--script", &scripts, &host],
                ]
                .concat(),
            ))
        },
        claims: |ran| {
            let listed = ["smtp-commands:", "imap-capabilities:", "pop3-capabilities:"]
                .iter()
                .any(|key| says(ran, key));
            // Its version detection knows a few boxes by their banner ("Cisco PIX sanitized smtpd").
            let service = |line: &&str| line.contains("/tcp open ");
            let boxed = |line: &str| line.contains("sanitized") || line.contains("proxy");
            if ran.stdout.lines().filter(service).any(boxed) {
                State::Interference
            } else if says(ran, "ssl-cert:") {
                State::Encrypts
            } else if says(ran, "STARTTLS") || says(ran, "STLS") || !listed {
                State::Unknown
            } else {
                State::Server
            }
        },
    },
    Peer {
        name: "testssl",
        program: "testssl",
        package: "testssl.sh",
        version: &["--version"],
        arguments: |question| {
            let starttls = match question.scheme {
                Scheme::Smtp | Scheme::Submission => "smtp",
                Scheme::Lmtp => "lmtp",
                Scheme::Imap => "imap",
                Scheme::Pop3 => "pop3",
                Scheme::Sieve => "sieve",
                _ => "",
            };
            let address = question.address.to_string();
            let starttls: &[&str] = if starttls.is_empty() {
                &[]
            } else {
                &["--starttls", starttls]
            };
            let fixed = [
                "-p",
                "-n",
                "none",
                "--warnings",
                "off",
                "--color",
                "0",
                "--quiet",
            ];
            Some(words(&[starttls, &fixed[..], &[&address]].concat()))
        },
        claims: |ran| {
            let version = |line: &&str| line.trim_start().starts_with("TLS 1");
            let versions: Vec<&str> = ran.stdout.lines().filter(version).collect();
            if versions
                .iter()
                .any(|line| line.contains("offered") && !line.contains("not offered"))
            {
                State::Encrypts
            } else if says(ran, "doesn't seem to be a TLS/SSL enabled server")
                || (!versions.is_empty()
                    && versions.iter().all(|line| line.contains("not offered")))
            {
                State::Server
            } else {
                State::Unknown
            }
        },
    },
    Peer {
        name: "posttls-finger",
        program: "posttls-finger",
        package: "postfix",
        version: &[],
        arguments: |question| {
            if !matches!(
                question.scheme,
                Scheme::Smtp | Scheme::Submission | Scheme::Lmtp
            ) {
                return None;
            }
            let destination = format!("[{}]:{}", question.address.ip(), question.address.port());
            let lmtp: &[&str] = if question.scheme == Scheme::Lmtp {
                &["-S"]
            } else {
                &[]
            };
            let fixed = ["-c", "-t", "10", "-T", "10", "-l", "secure", "-F"];
            Some(words(
                &[
                    lmtp,
                    &fixed[..],
                    &[&text(question.ca), &destination, "localhost"],
                ]
                .concat(),
            ))
        },
        claims: |ran| {
            if says(ran, "Verified TLS connection established")
                || says(ran, "Trusted TLS connection established")
            {
                State::Encrypts
            } else if says(ran, "Untrusted TLS connection established")
                || says(ran, "STARTTLS rejected")
                || says(ran, "not offered")
            {
                State::Server
            } else {
                // Where STARTTLS is not offered it prints nothing and exits with 0.
                State::Unknown
            }
        },
    },
];

impl Peer {
    pub(crate) fn path(&self) -> Option<PathBuf> {
        on_path(self.program)
            .or_else(|| Some(Path::new(SBIN).join(self.program)).filter(|path| path.is_file()))
    }

    /// How it is asked; none where it does not speak the protocol.
    pub(crate) fn command(
        &self,
        question: &Question<'_>,
        postfix_configuration: &Path,
    ) -> Option<Command> {
        let mut command = Command::new(self.path()?);
        // posttls-finger dies without a main.cf, and must not read the machine's own.
        command
            .args((self.arguments)(question)?)
            .env("MAIL_CONFIG", postfix_configuration);
        Some(command)
    }

    pub(crate) fn claims(&self, ran: &Ran) -> State {
        if ran.timed_out {
            State::Unknown
        } else {
            (self.claims)(ran)
        }
    }

    pub(crate) fn version(&self) -> String {
        if self.version.is_empty() {
            return tool::version("postconf", &["-d", "-h", "mail_version"]);
        }
        tool::version(self.program, self.version)
    }
}

fn says(ran: &Ran, text: &str) -> bool {
    ran.stdout.contains(text) || ran.stderr.contains(text)
}

fn words(of: &[&str]) -> Vec<String> {
    of.iter().map(|word| (*word).to_owned()).collect()
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
