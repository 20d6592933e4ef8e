//! What to do, per product and per person: reviewed data, one place.
//!
//! Where a vendor's text was not re-read the sentence says "should". Sources: Cisco ASA
//! command reference and ESMTP inspection guides, Postfix postconf(5), untangle/ngfw_src, smtp-gated.conf,
//! vendors' documents; RFC 8314, RFC 7672, RFC 8461, RFC 8460.

use alloc::{string::ToString, vec::Vec};

use crate::{Finding, Mechanism, Remedy, Verdict, Weakness, Who};
use hoofbeat_observation::Scheme;

/// When an entry applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    /// This product was named.
    Product(&'static str),
    /// This mechanism was found, with that verdict.
    Found(Verdict, Mechanism),
    /// This weakness was found.
    Weak(Weakness),
    /// Interference with mail between servers, of whatever kind.
    BetweenServers,
    /// Interference on a port for people.
    ForPeople,
    /// A masked greeting or a PIX is about.
    PixLike,
}

struct Entry {
    when: When,
    who: Who,
    text: &'static str,
    commands: &'static [&'static str],
}

const fn entry(
    when: When,
    who: Who,
    text: &'static str,
    commands: &'static [&'static str],
) -> Entry {
    Entry {
        when,
        who,
        text,
        commands,
    }
}

use Mechanism as M;
use Verdict::{Interference, Server};

static REMEDIES: &[Entry] = &[
    entry(
        When::Product("cisco-asa"),
        Who::FirewallOperator,
        "Keep the inspection and let TLS through. `no mask-banner` matters: a masked greeting alone makes Postfix senders fall back to HELO.",
        &[
            "policy-map type inspect esmtp TLS-OK",
            " parameters",
            "  allow-tls",
            "  no mask-banner",
            "policy-map global_policy",
            " class inspection_default",
            "  no inspect esmtp",
            "  inspect esmtp TLS-OK",
            "clear conn port 25",
            "write memory",
        ],
    ),
    entry(
        When::Product("cisco-asa"),
        Who::FirewallOperator,
        "Or switch the inspection off: it cannot see into TLS anyway. On FTD the command should be `configure inspection esmtp disable`.",
        &[
            "policy-map global_policy",
            " class inspection_default",
            "  no inspect esmtp",
            "write memory",
            "show service-policy inspect esmtp",
        ],
    ),
    entry(
        When::Product("cisco-pix"),
        Who::FirewallOperator,
        "Switch the SMTP fixup off; without the port the command only resets it to its default.",
        &["no fixup protocol smtp 25", "write memory"],
    ),
    entry(
        When::Product("untangle-ngfw"),
        Who::FirewallOperator,
        "Spam Blocker, Email: switch on \"Allow and ignore TLS sessions\"; or add a bypass rule for port 25.",
        &[],
    ),
    entry(
        When::Product("smtp-gated"),
        Who::NetworkOperator,
        "Let STARTTLS pass in smtp-gated.conf.",
        &["forbid_starttls 0"],
    ),
    entry(
        When::Product("fsecure-igk"),
        Who::FirewallOperator,
        "The SMTP proxy has no STARTTLS pass-through: bypass it for this server by a redirect rule, or end TLS elsewhere.",
        &[],
    ),
    entry(
        When::Product("balasys-zorp"),
        Who::FirewallOperator,
        "Allow STARTTLS in the SMTP proxy's policy.",
        &[],
    ),
    entry(
        When::Product("norton-antivirus"),
        Who::Sender,
        "Switch off the scanning of outgoing mail as administrator; disabling it in the tray does not suffice.",
        &[],
    ),
    entry(
        When::Product("avast-antivirus"),
        Who::Reader,
        "Switch the mail shield off for this account; TLS to the server protects the mail, and messages are scanned when opened.",
        &[],
    ),
    entry(
        When::Product("avg-antivirus"),
        Who::Reader,
        "Switch the e-mail scanner off for this account; messages are scanned when opened.",
        &[],
    ),
    entry(
        When::Product("fortinet-fortigate"),
        Who::FirewallOperator,
        "Use `certificate-inspection` for the mail policy, or exempt this server from deep inspection.",
        &[],
    ),
    entry(
        When::Product("trendmicro-imss"),
        Who::FirewallOperator,
        "Switch STARTTLS on in the gateway's own SMTP settings; the gateway is what the world speaks to.",
        &[],
    ),
    entry(
        When::Found(Interference, M::CapabilityMasked),
        Who::NetworkOperator,
        "Look for SMTP inspection, fixup or an application gateway on every firewall between, and let STARTTLS pass.",
        &[],
    ),
    entry(
        When::Found(Interference, M::CapabilityRemoved),
        Who::NetworkOperator,
        "Look for an SMTP proxy or filter that edits the list of extensions, and let STARTTLS pass.",
        &[],
    ),
    entry(
        When::Found(Interference, M::SessionProxied),
        Who::NetworkOperator,
        "Something redirects this port to a server of its own: exempt mail clients that encrypt, or give the proxy STARTTLS.",
        &[],
    ),
    entry(
        When::Found(Interference, M::TlsIntercepted),
        Who::NetworkOperator,
        "Exempt mail ports from TLS inspection; senders that verify will not deliver through it.",
        &[],
    ),
    entry(
        When::Found(Interference, M::PortBlocked),
        Who::Sender,
        "Send through your provider's relay, or submit on port 465; ask the provider to open port 25 if you run a mail server.",
        &[],
    ),
    entry(
        When::PixLike,
        Who::Sender,
        "Postfix falls back to HELO on a masked greeting and then cannot encrypt: switch that workaround off.",
        &[
            "postconf -e 'smtp_pix_workarounds = delay_dotcrlf'",
            "postfix reload",
        ],
    ),
    entry(
        When::BetweenServers,
        Who::Sender,
        "Refuse to send this domain's mail in the clear: encrypt always, or by DANE where the domain publishes it. Mail then waits instead of leaking.",
        &[
            "postconf -e 'smtp_tls_policy_maps = hash:/etc/postfix/tls_policy'",
            "echo 'example.org encrypt' >> /etc/postfix/tls_policy",
            "postmap /etc/postfix/tls_policy",
            "postconf -e 'smtp_tls_note_starttls_offer = yes'",
        ],
    ),
    entry(
        When::BetweenServers,
        Who::ServerOperator,
        "Publish DANE (DNSSEC and TLSA) or MTA-STS in mode enforce, and TLSRPT: senders then defer instead of sending in the clear, and tell you.",
        &[],
    ),
    entry(
        When::ForPeople,
        Who::Reader,
        "Use implicit TLS: 465 for sending, 993 for IMAP, 995 for POP3 (RFC 8314). There is no offer in it that could be removed.",
        &[],
    ),
    entry(
        When::Found(Server, M::NotOffered),
        Who::ServerOperator,
        "Switch STARTTLS on. Postfix and Dovecot, with a certificate in place:",
        &[
            "postconf -e 'smtpd_tls_security_level = may' 'smtpd_tls_chain_files = /etc/ssl/private/mail.pem'",
            "postfix reload",
            "doveconf -n ssl ssl_cert ssl_key",
        ],
    ),
    entry(
        When::Found(Server, M::NotOffered),
        Who::Sender,
        "Until then mail to this server goes in the clear; require encryption for the domain if that must not be.",
        &[],
    ),
    entry(
        When::Found(Server, M::HiddenFromUs),
        Who::ServerOperator,
        "Look for rules about who is offered STARTTLS: smtpd_discard_ehlo_keyword_address_maps (Postfix), tls_advertise_hosts (Exim), Srv_Features (Sendmail).",
        &[
            "postconf smtpd_discard_ehlo_keyword_address_maps smtpd_discard_ehlo_keywords",
            "exim -bP tls_advertise_hosts",
        ],
    ),
    entry(
        When::Found(Server, M::TlsUnavailable),
        Who::ServerOperator,
        "The server's log says why its TLS is not available: most often a key that cannot be read, or a limit.",
        &["postconf smtpd_tls_chain_files smtpd_tls_cert_file smtpd_tls_key_file"],
    ),
    entry(
        When::Found(Server, M::CertificateInvalid),
        Who::ServerOperator,
        "Serve a certificate that names the host mail is sent to, with its whole chain, and renew it by itself (ACME).",
        &[],
    ),
    entry(
        When::Found(Server, M::CertificateInvalid),
        Who::Sender,
        "Opportunistic TLS goes on encrypting; whom it encrypts to is not proven until the certificate is right.",
        &[],
    ),
    entry(
        When::Found(Server, M::StarttlsBroken),
        Who::ServerOperator,
        "Look in the server's log for the handshake's error: protocol versions, ciphers, the key.",
        &["openssl s_client -starttls smtp -connect HOST:25"],
    ),
    entry(
        When::Weak(Weakness::AuthBeforeTls),
        Who::ServerOperator,
        "Offer logins only inside TLS.",
        &[
            "postconf -e 'smtpd_tls_auth_only = yes'",
            "# Dovecot: auth_allow_cleartext = no (2.4), disable_plaintext_auth = yes (2.3)",
        ],
    ),
    entry(
        When::Weak(Weakness::AuthBeforeTls),
        Who::Reader,
        "Set the program to \"SSL/TLS\" (465, 993, 995), not to \"STARTTLS if available\": the password is then never sent in the clear.",
        &[],
    ),
    entry(
        When::Weak(Weakness::LogindisabledMissing),
        Who::ServerOperator,
        "Refuse LOGIN before TLS, and say LOGINDISABLED.",
        &[
            "# Dovecot: auth_allow_cleartext = no (2.4), disable_plaintext_auth = yes (2.3); ssl = required",
        ],
    ),
    entry(
        When::Weak(Weakness::Preauth),
        Who::ServerOperator,
        "Never answer PREAUTH on a port that strangers reach.",
        &[],
    ),
    entry(
        When::Weak(Weakness::CommandInjection),
        Who::ServerOperator,
        "Update the server: plaintext that arrived before TLS must be thrown away (CVE-2011-0411 and its kin).",
        &[],
    ),
    entry(
        When::Weak(Weakness::ExpiresSoon),
        Who::ServerOperator,
        "Renew the certificate, and find out why it was not renewed by itself.",
        &[],
    ),
    entry(
        When::Weak(Weakness::OldTls),
        Who::ServerOperator,
        "Allow TLS 1.2 and 1.3 with current suites.",
        &[
            "postconf -e 'smtpd_tls_protocols = >=TLSv1.2'",
            "# Dovecot: ssl_min_protocol = TLSv1.2",
        ],
    ),
    entry(
        When::Weak(Weakness::NoPolicy),
        Who::ServerOperator,
        "Publish DANE or MTA-STS, so that senders notice when STARTTLS goes missing (RFC 7672, RFC 8461), and TLSRPT (RFC 8460).",
        &[],
    ),
    entry(
        When::Weak(Weakness::PolicyMismatch),
        Who::ServerOperator,
        "Make what is published fit what is served: publish the next key's TLSA record before it is used; list every MX in the MTA-STS policy.",
        &[],
    ),
];

/// The remedies for a finding, in the table's order.
pub(crate) fn remedies(finding: &Finding) -> Vec<Remedy> {
    let between_servers = matches!(finding.service.scheme, Scheme::Smtp);
    let interference = finding.verdict == Verdict::Interference;
    let encrypted = finding.encryption == crate::Encryption::Verified;
    let pix_like = matches!(finding.product.as_deref(), Some("cisco-asa" | "cisco-pix"))
        || finding.mechanism == Some(Mechanism::BannerMasked);
    REMEDIES
        .iter()
        .filter(|entry| match entry.when {
            When::Product(product) => interference && finding.product.as_deref() == Some(product),
            When::Found(verdict, mechanism) => {
                finding.verdict == verdict && finding.mechanism == Some(mechanism)
            }
            When::Weak(weakness) => finding.weaknesses.contains(&weakness),
            When::BetweenServers => {
                interference && between_servers && finding.mechanism != Some(Mechanism::PortBlocked)
            }
            When::ForPeople => interference && !between_servers && !encrypted,
            When::PixLike => interference && between_servers && pix_like,
        })
        .map(|entry| Remedy {
            who: entry.who,
            text: entry.text.to_string(),
            commands: entry.commands.iter().map(ToString::to_string).collect(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_server_state_and_weakness_has_a_remedy() {
        for mechanism in [
            M::NotOffered,
            M::HiddenFromUs,
            M::TlsUnavailable,
            M::CertificateInvalid,
            M::StarttlsBroken,
        ] {
            assert!(
                REMEDIES
                    .iter()
                    .any(|e| e.when == When::Found(Server, mechanism)
                        && e.who == Who::ServerOperator),
                "{mechanism}"
            );
        }
        for weakness in Weakness::ALL {
            assert!(
                REMEDIES.iter().any(|e| e.when == When::Weak(*weakness)),
                "{weakness}"
            );
        }
    }
}
