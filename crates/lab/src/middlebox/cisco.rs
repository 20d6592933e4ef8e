//! Cisco's SMTP inspection: PIX `fixup protocol smtp` and ASA/FWSM `inspect esmtp`, edited in place, segment by segment.
//!
//! Every length is kept, no byte is held back, the box never answers. The banner becomes asterisks, masked EHLO
//! keywords become `X…X` with a letter that counts the masked lines, and a client's disallowed verb becomes all `X` (or
//! NOOP on PIX 5), so that the *server* answers. It must not know what a client concludes.
//!
//! A line cut by a segment border is left alone: how the real one treats it is not known.

mod limits;

use serde::Deserialize;

use crate::middlebox::{Action, Middlebox};
use limits::Limits;

/// How a banner is masked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Banner {
    /// ASA: every character becomes `*`.
    #[default]
    Solid,
    /// PIX 5 and later: `2` and `0` survive.
    KeepsTwoAndZero,
    /// As before, and blanks survive too.
    KeepsTwoZeroAndBlank,
    /// `no mask-banner`.
    Passes,
}

/// What happens to a verb that is not allowed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Disallowed {
    /// Each byte becomes `X`.
    #[default]
    Crossed,
    /// `NOOP`, padded with `X` to the line's length (the padding is a guess; the length is not).
    Noop,
}

/// Which keywords pass the EHLO mask.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Keywords {
    /// No mask: PIX never lets EHLO through.
    Unmasked,
    /// The older table: VRFY and `AUTH=` are masked.
    Gen1,
    /// The newer one: they pass.
    #[default]
    Gen2,
}

/// A Cisco's settings.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct CiscoSpec {
    /// The banner mask.
    pub banner: Banner,
    /// Verbs that are not allowed.
    pub disallowed: Disallowed,
    /// The EHLO mask.
    pub keywords: Keywords,
    /// Whether only the seven verbs of RFC 821 §4.5.1 are allowed (PIX `fixup`), not the ESMTP ones.
    pub only_rfc821: bool,
    /// `allow-tls`: STARTTLS passes, both keyword and verb.
    pub allow_tls: bool,
    /// The default map's limits of length and count; PIX `fixup` has none of them.
    pub limits: bool,
}

impl Default for CiscoSpec {
    fn default() -> Self {
        Self {
            banner: Banner::Solid,
            disallowed: Disallowed::Crossed,
            keywords: Keywords::Gen2,
            only_rfc821: false,
            allow_tls: false,
            limits: true,
        }
    }
}

const RFC821: &[&str] = &["DATA", "HELO", "MAIL", "NOOP", "QUIT", "RCPT", "RSET"];
const ESMTP: &[&str] = &[
    "AUTH", "EHLO", "ETRN", "HELP", "SAML", "SEND", "SOML", "VRFY",
];
const GEN1: &[&str] = &[
    "8BITMIME",
    "AUTH",
    "BINARYMIME",
    "DSN",
    "ENHANCEDSTATUSCODES",
    "ETRN",
    "PIPELINING",
    "SIZE",
];

/// One connection's inspection.
#[derive(Clone, Debug)]
pub struct Cisco {
    spec: CiscoSpec,
    greeted: bool,
    ehlo: Option<Ehlo>,
    starttls_passed: bool,
    body: bool,
    blind: bool,
    /// Whether the next client segment continues a line, or answers an AUTH challenge.
    secret: bool,
    /// Whether the server's last segment ended within a line.
    server_mid_line: bool,
    /// Whether the client's last segment ended within a line.
    client_mid_line: bool,
    /// The body's last bytes so far.
    body_tail: Vec<u8>,
    /// What the client sent so far, as the limits count it; none where there are no limits.
    counted: Option<Limits>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Ehlo {
    lines: usize,
    masked: usize,
}

impl Cisco {
    /// A box with these settings.
    pub fn new(spec: CiscoSpec) -> Self {
        let counted = (spec.limits && !spec.only_rfc821).then(Limits::default);
        Self {
            spec,
            counted,
            greeted: false,
            ehlo: None,
            starttls_passed: false,
            body: false,
            blind: false,
            secret: false,
            server_mid_line: false,
            client_mid_line: false,
            body_tail: Vec::new(),
        }
    }

    fn allowed(&self, verb: &str) -> bool {
        RFC821.contains(&verb)
            || (!self.spec.only_rfc821 && ESMTP.contains(&verb))
            || (self.spec.allow_tls && verb == "STARTTLS")
    }

    fn passes_mask(&self, text: &[u8]) -> bool {
        let keyword: String = text
            .iter()
            .take_while(|&&byte| byte != b' ' && byte != b'=')
            .map(|&byte| byte.to_ascii_uppercase() as char)
            .collect();
        let with_equals = text.get(keyword.len()) == Some(&b'=');
        match self.spec.keywords {
            Keywords::Unmasked => true,
            _ if keyword == "STARTTLS" => self.spec.allow_tls,
            Keywords::Gen1 => GEN1.contains(&keyword.as_str()) && !with_equals,
            Keywords::Gen2 => GEN1.contains(&keyword.as_str()) || keyword == "VRFY",
        }
    }

    fn edit_banner_line(&self, line: &mut [u8]) {
        let keep: &[u8] = match self.spec.banner {
            Banner::Passes => return,
            Banner::Solid => b"",
            Banner::KeepsTwoAndZero => b"20",
            Banner::KeepsTwoZeroAndBlank => b"20 ",
        };
        for byte in line.iter_mut().skip(4) {
            if !keep.contains(byte) {
                *byte = b'*';
            }
        }
    }

    fn edit_server_line(&mut self, line: &mut [u8]) {
        let last = line.get(3) != Some(&b'-');
        if !self.greeted {
            self.edit_banner_line(line);
            self.greeted = last;
            return;
        }
        if let Some(mut ehlo) = self.ehlo {
            if line.starts_with(b"250") {
                let text_passes = self.passes_mask(line.get(4..).unwrap_or_default());
                if ehlo.lines > 0 && !text_passes && line.len() > 4 {
                    // After the 26th the letter is unknown; it wraps here.
                    let letter = b'A'.wrapping_add(u8::try_from(ehlo.masked % 26).unwrap_or(0));
                    let end = line.len() - 1;
                    for (at, byte) in line.iter_mut().enumerate().skip(4) {
                        *byte = if at == end { letter } else { b'X' };
                    }
                    ehlo.masked += 1;
                }
                ehlo.lines += 1;
            }
            self.ehlo = (!last).then_some(ehlo);
        }
        if line.starts_with(b"354") {
            self.body = true;
        }
        if line.starts_with(b"334") {
            self.secret = true;
        }
        if self.starttls_passed && last {
            self.starttls_passed = false;
            self.blind = line.starts_with(b"220");
        }
    }

    fn edit_command(&mut self, line: &mut [u8], complete: bool) {
        let verb: String = line
            .iter()
            .take_while(|byte| !byte.is_ascii_whitespace())
            .map(|byte| byte.to_ascii_uppercase() as char)
            .collect();
        if complete && self.allowed(&verb) {
            if verb == "EHLO" {
                self.ehlo = Some(Ehlo::default());
            }
            self.starttls_passed = verb == "STARTTLS";
            for byte in line.iter_mut() {
                // `special-character`: a pipe in an address becomes a blank.
                if self.spec.only_rfc821 && *byte == b'|' {
                    *byte = b' ';
                }
            }
            return;
        }
        let noop = self.spec.disallowed == Disallowed::Noop && complete && line.len() >= 4;
        for (at, byte) in line.iter_mut().enumerate() {
            *byte = if noop {
                *b"NOOP".get(at).unwrap_or(&b'X')
            } else {
                b'X'
            };
        }
        if noop && let Some(after) = line.get_mut(4) {
            // A blank, so that the server still reads NOOP: the padding is our guess, the length is not.
            *after = b' ';
        }
    }
}

impl Middlebox for Cisco {
    fn client_sent(&mut self, segment: &[u8], out: &mut Vec<Action>) {
        if let Some(counted) = &mut self.counted
            && !self.blind
            && !self.secret
            && counted.exceeded_by(segment, self.body)
        {
            out.push(Action::Blackhole);
            return;
        }
        let mut bytes = segment.to_vec();
        if self.body {
            // PIX sees only a terminator that is whole within one segment (CSCds90792).
            let seen = if self.spec.only_rfc821 {
                bytes.clone()
            } else {
                [self.body_tail.as_slice(), &bytes].concat()
            };
            self.body = !(seen.ends_with(b"\r\n.\r\n") || seen == b".\r\n");
            let tail = seen.len().saturating_sub(5);
            self.body_tail = if self.body {
                seen.get(tail..).unwrap_or_default().to_vec()
            } else {
                Vec::new()
            };
        } else if self.secret {
            self.secret = false;
        } else if !self.blind {
            // The mid-line state is kept for what follows a cut: it cannot be a verb again.
            let mut continues = self.client_mid_line;
            for (line, complete) in lines(&mut bytes) {
                self.edit_command(line, complete && !continues);
                continues = !complete;
            }
            self.client_mid_line = continues;
        }
        out.push(Action::ToServer(bytes));
    }

    fn server_sent(&mut self, segment: &[u8], out: &mut Vec<Action>) {
        let mut bytes = segment.to_vec();
        if !self.blind {
            let mut continues = self.server_mid_line;
            for (line, complete) in lines(&mut bytes) {
                if complete && !continues {
                    self.edit_server_line(line);
                }
                continues = !complete;
                if self.blind {
                    break;
                }
            }
            self.server_mid_line = continues;
        }
        out.push(Action::ToClient(bytes));
    }
}

/// The segment's lines without their ends, and whether each has one in this segment.
pub(crate) fn lines(bytes: &mut [u8]) -> impl Iterator<Item = (&mut [u8], bool)> {
    bytes
        .split_inclusive_mut(|&byte| byte == b'\n')
        .map(|line| {
            let complete = line.ends_with(b"\n");
            let mut end = line.len();
            if complete {
                end -= 1;
                if end > 0 && line.get(end - 1) == Some(&b'\r') {
                    end -= 1;
                }
            }
            (line.split_at_mut(end).0, complete)
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::middlebox::play;
    use proptest::prelude::*;

    fn gen1() -> Cisco {
        Cisco::new(CiscoSpec {
            keywords: Keywords::Gen1,
            ..CiscoSpec::default()
        })
    }

    fn gen2() -> Cisco {
        Cisco::new(CiscoSpec::default())
    }

    fn allow_tls() -> Cisco {
        Cisco::new(CiscoSpec {
            allow_tls: true,
            ..CiscoSpec::default()
        })
    }

    /// What a client reads for this EHLO reply.
    fn ehlo(mut cisco: Cisco, lines: &[&str]) -> Vec<String> {
        play::server(&mut cisco, "220 mx.example ESMTP\r\n");
        assert_eq!(play::client(&mut cisco, "EHLO x\r\n"), "S:EHLO x\r\n");
        let reply: String = lines
            .iter()
            .enumerate()
            .map(|(at, line)| {
                format!(
                    "250{}{line}\r\n",
                    if at + 1 == lines.len() { ' ' } else { '-' }
                )
            })
            .collect();
        let seen = play::server(&mut cisco, &reply);
        seen.trim_start_matches("C:")
            .lines()
            .map(str::to_owned)
            .collect()
    }

    #[test]
    fn truth_one_nine_masked_lines_of_an_exchange_reply() {
        let seen = ehlo(
            gen1(),
            &[
                "mail.example Hello [192.0.2.1]",
                "TURN",
                "SIZE",
                "ETRN",
                "PIPELINING",
                "DSN",
                "ENHANCEDSTATUSCODES",
                "8bitmime",
                "BINARYMIME",
                "CHUNKING",
                "VRFY",
                "X-EXPS GSSAPI NTLM LOGIN",
                "X-EXPS=LOGIN",
                "AUTH GSSAPI NTLM LOGIN",
                "AUTH=LOGIN",
                "X-LINK2STATE",
                "XEXCH50",
                "STARTTLS",
                "OK",
            ],
        );
        let masked: Vec<&str> = seen
            .iter()
            .skip(1)
            .filter(|line| line.contains("X"))
            .map(|line| &line[4..])
            .collect();
        assert_eq!(
            masked,
            [
                "XXXA",
                "XXXXXXXB",
                "XXXC",
                "XXXXXXXXXXXXXXXXXXXXXXXD",
                "XXXXXXXXXXXE",
                "XXXXXXXXXF",
                "XXXXXXXXXXXG",
                "XXXXXXH",
                "XXXXXXXI",
                "XJ"
            ]
        );
        assert_eq!(seen.last().map(String::as_str), Some("250 XJ"));
        assert_eq!(
            seen.first().map(String::as_str),
            Some("250-mail.example Hello [192.0.2.1]")
        );
        assert!(seen.contains(&"250-AUTH GSSAPI NTLM LOGIN".to_owned()));
    }

    #[test]
    fn truth_two_exim() {
        let mut cisco = gen1();
        play::server(&mut cisco, "220 mx.example ESMTP Exim 4.60\r\n");
        play::client(&mut cisco, "ehlo x\r\n");
        assert_eq!(
            play::server(
                &mut cisco,
                "250-mx.example Hello x\r\n250-PIPELINING\r\n250-STARTTLS\r\n250 HELP\r\n"
            ),
            "C:250-mx.example Hello x\r\n250-PIPELINING\r\n250-XXXXXXXA\r\n250 XXXB\r\n"
        );
        assert_eq!(play::client(&mut cisco, "starttls\r\n"), "S:XXXXXXXX\r\n");
        assert_eq!(
            play::server(&mut cisco, "500 unrecognized command\r\n"),
            "C:500 unrecognized command\r\n"
        );
    }

    #[test]
    fn truth_three_postfix_behind_a_carrier() {
        assert_eq!(
            ehlo(
                gen2(),
                &[
                    "mx",
                    "PIPELINING",
                    "SIZE 307200000",
                    "VRFY",
                    "ETRN",
                    "STARTTLS",
                    "AUTH PLAIN CRAM-MD5",
                    "ENHANCEDSTATUSCODES",
                    "8BITMIME",
                    "DSN"
                ]
            ),
            [
                "250-mx",
                "250-PIPELINING",
                "250-SIZE 307200000",
                "250-VRFY",
                "250-ETRN",
                "250-XXXXXXXA",
                "250-AUTH PLAIN CRAM-MD5",
                "250-ENHANCEDSTATUSCODES",
                "250-8BITMIME",
                "250 DSN"
            ]
        );
    }

    #[test]
    fn truth_four_allow_tls_masks_help_and_the_banner_only() {
        assert_eq!(
            ehlo(
                allow_tls(),
                &["mx", "STARTTLS", "PIPELINING", "8BITMIME", "HELP"]
            ),
            [
                "250-mx",
                "250-STARTTLS",
                "250-PIPELINING",
                "250-8BITMIME",
                "250 XXXA"
            ]
        );
    }

    #[test]
    fn truth_five_a_multi_line_banner_is_masked_line_by_line() {
        let mut cisco = gen2();
        assert_eq!(
            play::server(&mut cisco, "220-mx.example ESMTP\r\n220 no spam 2020\r\n"),
            "C:220-****************\r\n220 ************\r\n"
        );
        play::client(&mut cisco, "NOOP\r\n");
        assert_eq!(
            play::server(&mut cisco, "250 2.0.0 Ok\r\n"),
            "C:250 2.0.0 Ok\r\n"
        );
    }

    #[test]
    fn predicted_vectors_for_postfix_and_exchange() {
        let postfix = [
            "mx",
            "PIPELINING",
            "SIZE 52428800",
            "VRFY",
            "ETRN",
            "STARTTLS",
            "ENHANCEDSTATUSCODES",
            "8BITMIME",
            "DSN",
            "SMTPUTF8",
            "CHUNKING",
        ];
        let seen = ehlo(gen2(), &postfix);
        assert_eq!(seen.get(5).map(String::as_str), Some("250-XXXXXXXA"));
        assert_eq!(seen.get(9).map(String::as_str), Some("250-XXXXXXXB"));
        assert_eq!(seen.get(10).map(String::as_str), Some("250 XXXXXXXC"));
        let seen = ehlo(allow_tls(), &postfix);
        assert_eq!(seen.get(5).map(String::as_str), Some("250-STARTTLS"));
        assert_eq!(seen.get(9).map(String::as_str), Some("250-XXXXXXXA"));
        assert_eq!(seen.get(10).map(String::as_str), Some("250 XXXXXXXB"));
        let seen = ehlo(
            gen2(),
            &[
                "mx Hello",
                "SIZE 37748736",
                "PIPELINING",
                "DSN",
                "ENHANCEDSTATUSCODES",
                "STARTTLS",
                "X-ANONYMOUSTLS",
                "AUTH NTLM",
                "X-EXPS GSSAPI NTLM",
                "8BITMIME",
                "BINARYMIME",
                "CHUNKING",
                "XRDST",
            ],
        );
        assert_eq!(
            seen,
            [
                "250-mx Hello",
                "250-SIZE 37748736",
                "250-PIPELINING",
                "250-DSN",
                "250-ENHANCEDSTATUSCODES",
                "250-XXXXXXXA",
                "250-XXXXXXXXXXXXXB",
                "250-AUTH NTLM",
                "250-XXXXXXXXXXXXXXXXXC",
                "250-8BITMIME",
                "250-BINARYMIME",
                "250-XXXXXXXD",
                "250 XXXXE"
            ]
        );
    }

    #[test]
    fn pix_banner_keeps_two_and_zero() {
        let pix = |banner| {
            Cisco::new(CiscoSpec {
                banner,
                only_rfc821: true,
                ..CiscoSpec::default()
            })
        };
        assert_eq!(
            play::server(&mut pix(Banner::KeepsTwoAndZero), "220 mx 2003 a\r\n"),
            "C:220 ***200***\r\n"
        );
        assert_eq!(
            play::server(&mut pix(Banner::KeepsTwoZeroAndBlank), "220 mx 2003 a\r\n"),
            "C:220 ** 200* *\r\n"
        );
    }

    #[test]
    fn pix_six_crosses_ehlo_and_pix_five_makes_it_noop() {
        let spec = CiscoSpec {
            only_rfc821: true,
            ..CiscoSpec::default()
        };
        let mut six = Cisco::new(spec.clone());
        assert_eq!(
            play::client(&mut six, "EHLO client.example\r\n"),
            "S:XXXXXXXXXXXXXXXXXXX\r\n"
        );
        assert_eq!(
            play::client(&mut six, "HELO client.example\r\n"),
            "S:HELO client.example\r\n"
        );
        let mut five = Cisco::new(CiscoSpec {
            disallowed: Disallowed::Noop,
            ..spec
        });
        assert_eq!(play::client(&mut five, "STARTTLS\r\n"), "S:NOOP XXX\r\n");
        assert_eq!(play::client(&mut five, "EHLO a\r\n"), "S:NOOP X\r\n");
    }

    #[test]
    fn a_verb_cut_into_pieces_is_crossed_piece_by_piece() {
        let mut cisco = gen2();
        play::server(&mut cisco, "220 x\r\n");
        assert_eq!(play::client(&mut cisco, "N"), "S:X");
        assert_eq!(play::client(&mut cisco, "OOP\r\n"), "S:XXX\r\n");
        assert_eq!(play::client(&mut cisco, "NOOP\r\n"), "S:NOOP\r\n");
    }

    #[test]
    fn with_allow_tls_the_box_is_blind_after_220() {
        let mut cisco = allow_tls();
        play::server(&mut cisco, "220 x\r\n");
        assert_eq!(play::client(&mut cisco, "StartTLS\r\n"), "S:StartTLS\r\n");
        assert_eq!(play::server(&mut cisco, "220 go\r\n"), "C:220 go\r\n");
        assert_eq!(
            play::client(&mut cisco, "\u{16}\u{3}\u{1}WXYZ\n"),
            "S:\u{16}\u{3}\u{1}WXYZ\n"
        );
        assert_eq!(play::server(&mut cisco, "250-HELP\r\n"), "C:250-HELP\r\n");
    }

    #[test]
    fn the_body_and_an_auth_answer_pass() {
        let mut cisco = gen2();
        play::server(&mut cisco, "220 x\r\n");
        play::client(&mut cisco, "AUTH PLAIN\r\n");
        play::server(&mut cisco, "334 \r\n");
        assert_eq!(play::client(&mut cisco, "AHgAeQ==\r\n"), "S:AHgAeQ==\r\n");
        play::client(&mut cisco, "DATA\r\n");
        play::server(&mut cisco, "354 go\r\n");
        assert_eq!(
            play::client(&mut cisco, "STARTTLS\r\n.\r\n"),
            "S:STARTTLS\r\n.\r\n"
        );
        assert_eq!(play::client(&mut cisco, "STARTTLS\r\n"), "S:XXXXXXXX\r\n");
    }

    #[test]
    fn a_command_beyond_the_limit_ends_in_silence_unless_the_box_is_a_pix() {
        let long = format!("NOOP {}\r\n", "x".repeat(600));
        assert_eq!(play::client(&mut gen2(), &long), "<Blackhole>");
        let mut pix = Cisco::new(CiscoSpec {
            only_rfc821: true,
            ..CiscoSpec::default()
        });
        assert_eq!(play::client(&mut pix, &long), format!("S:{long}"));
        let mut unlimited = Cisco::new(CiscoSpec {
            limits: false,
            ..CiscoSpec::default()
        });
        assert_eq!(play::client(&mut unlimited, &long), format!("S:{long}"));
    }

    #[test]
    fn only_pix_misses_an_end_of_mail_that_two_segments_share() {
        for (only_rfc821, next) in [(false, "S:XXXX\r\n"), (true, "S:XQZT\r\n")] {
            let mut cisco = Cisco::new(CiscoSpec {
                only_rfc821,
                ..CiscoSpec::default()
            });
            play::server(&mut cisco, "220 x\r\n");
            play::client(&mut cisco, "DATA\r\n");
            play::server(&mut cisco, "354 go\r\n");
            play::client(&mut cisco, "text\r\n.");
            play::client(&mut cisco, "\r\n");
            assert_eq!(play::client(&mut cisco, "XQZT\r\n"), next);
        }
    }

    proptest! {
        #[test]
        fn every_segment_keeps_its_length_and_its_line_ends(
            segments in prop::collection::vec((any::<bool>(), prop::collection::vec(
                prop_oneof![any::<u8>(), Just(b'\r'), Just(b'\n'), Just(b' '), Just(b'2'), Just(b'5'), Just(b'0'), Just(b'E')],
                0..60)), 0..20),
            pix in any::<bool>(), noop in any::<bool>(), allow_tls in any::<bool>(),
        ) {
            let mut cisco = Cisco::new(CiscoSpec {
                only_rfc821: pix,
                allow_tls,
                limits: false,
                disallowed: if noop { Disallowed::Noop } else { Disallowed::Crossed },
                ..CiscoSpec::default()
            });
            for (from_client, segment) in segments {
                let mut out = Vec::new();
                if from_client {
                    cisco.client_sent(&segment, &mut out);
                } else {
                    cisco.server_sent(&segment, &mut out);
                }
                let [Action::ToClient(bytes) | Action::ToServer(bytes)] = out.as_slice() else {
                    panic!("one segment in, one segment out");
                };
                prop_assert_eq!(bytes.len(), segment.len());
                let ends = |bytes: &[u8]| bytes.iter().positions_of(b'\n');
                prop_assert_eq!(ends(bytes), ends(&segment));
            }
        }
    }

    trait PositionsOf {
        fn positions_of(self, wanted: u8) -> Vec<usize>;
    }

    impl<'a, I: Iterator<Item = &'a u8>> PositionsOf for I {
        fn positions_of(self, wanted: u8) -> Vec<usize> {
            self.enumerate()
                .filter(|&(_, &byte)| byte == wanted)
                .map(|(at, _)| at)
                .collect()
        }
    }
}
