//! A traced path as a drawing: a line a hop, what it quoted, and the stretch in which bytes were changed.
//!
//! The stretch is drawn between hops, for it is one: a box may sit in the link or at either end of it, and an address
//! is no proof of who owns a router. It must not conclude anything that the judge did not.

use hoofbeat_diagnosis::{Finding, Hop, Segment, Verdict};
use hoofbeat_observation::Engine;
use hoofbeat_session::Direction;
use std::fmt::Write as _;

/// The signs of a drawing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Signs {
    same: &'static str,
    changed: &'static str,
    silent: &'static str,
    unknown: &'static str,
    arrow: &'static str,
    line: &'static str,
}

/// For terminals and files in UTF-8.
pub(crate) const UNICODE: Signs = Signs {
    same: "✓",
    changed: "✗",
    silent: "·",
    unknown: "?",
    arrow: "→",
    line: "╌",
};

/// For everything else.
pub(crate) const ASCII: Signs = Signs {
    same: "ok",
    changed: "X",
    silent: ".",
    unknown: "?",
    arrow: "->",
    line: "-",
};

/// The signs that the locale can show (POSIX: `LC_ALL`, then `LC_CTYPE`, then `LANG`).
pub(crate) fn signs() -> Signs {
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
        .into_iter()
        .filter_map(std::env::var_os)
        .find(|value| !value.is_empty());
    let is_utf_8 = locale.is_some_and(|value| {
        let value = value.to_string_lossy().to_ascii_lowercase();
        value.contains("utf-8") || value.contains("utf8")
    });
    if is_utf_8 { UNICODE } else { ASCII }
}

/// Headers of IPv4 and TCP without options, and the eight letters of STARTTLS: fewer cannot show it.
const WHOLE_QUOTE: usize = 48;

/// One direction, ready to be drawn.
struct Drawn<'a> {
    hops: &'a [Hop],
    engine: Engine,
    direction: Direction,
    segment: Option<Segment>,
}

/// Every traced direction of a finding; nothing where no path was traced.
pub(crate) fn draw(finding: &Finding, signs: Signs) -> String {
    let Some(report) = &finding.path else {
        return String::new();
    };
    let mut out = String::new();
    if report.paths.is_empty() {
        let only = Drawn {
            hops: &report.hops,
            engine: report.engine,
            direction: report.direction,
            segment: finding.location.segment,
        };
        only.draw(&mut out, finding, signs);
        only.credible(&mut out, finding);
    }
    let located = report
        .paths
        .iter()
        .position(|path| path.segment == finding.location.segment);
    for (place, path) in report.paths.iter().enumerate() {
        let one = Drawn {
            hops: &path.path,
            engine: path.engine,
            direction: path.direction,
            segment: path.segment,
        };
        one.draw(&mut out, finding, signs);
        if located == Some(place) {
            one.credible(&mut out, finding);
        }
    }
    out
}

impl Drawn<'_> {
    /// How sure the finding's stretch is, below the path that it was found on.
    fn credible(&self, out: &mut String, finding: &Finding) {
        if let (Some(_), Some(credible)) = (self.segment, &finding.location.credible) {
            let _ = writeln!(
                out,
                "    With {:.0} % probability it lies behind hop {} and up to hop {}.",
                credible.probability * 100.0,
                credible.after_hop,
                credible.up_to_hop
            );
        }
    }

    fn draw(&self, out: &mut String, finding: &Finding, signs: Signs) {
        let witness = finding.witness.as_ref().map_or("the witness", |w| &w.host);
        let (title, start, end) = match self.direction {
            Direction::ToServer => (
                "Path to the server".to_owned(),
                "this computer".to_owned(),
                destination(finding),
            ),
            Direction::ToClient => (
                format!("Path back from {witness}; hops count from there"),
                witness.to_owned(),
                "this computer".to_owned(),
            ),
        };
        let engine = match self.engine {
            Engine::Raw => "raw engine",
            Engine::Unprivileged => "without raw sockets",
        };
        let _ = writeln!(out, "\n  {title} ({engine})");
        let _ = writeln!(out, "     0  {start}");
        // Without a single quote of the test packet the last column would only say so on every line.
        let has_quotes = self.hops.iter().any(|hop| hop.changed.is_some());
        let cells: Vec<[String; 4]> = self
            .hops
            .iter()
            .map(|hop| cells(hop, has_quotes, signs))
            .collect();
        let width = |column: usize| {
            let widths = cells.iter().filter_map(|row| row.get(column));
            widths.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths = [width(0), width(1), width(2)];
        let rule = signs.line.repeat(6);
        // Where nobody is accused of a change, it is only said where to look.
        let what = match finding.verdict {
            Verdict::Interference => "changed",
            _ => "fails",
        };
        let mut open = self.segment;
        for (hop, row) in self.hops.iter().zip(&cells) {
            // Between the TTL checks of the hop before and of this one.
            if let Some(segment) = self.segment {
                if hop.hop == segment.up_to_hop && segment.after_hop + 1 == segment.up_to_hop {
                    let _ = writeln!(out, "        {rule} {what} in this stretch {rule}");
                    open = None;
                } else if hop.hop == segment.up_to_hop {
                    let _ = writeln!(out, "        {rule} and before here {rule}");
                    open = None;
                } else if hop.hop == segment.after_hop + 1 {
                    let _ = writeln!(out, "        {rule} {what} behind here {rule}");
                }
            }
            let [address, name, rtt, quote] = row;
            let line = format!(
                "    {:>2}  {address:<a$}  {name:<n$}  {rtt:>r$}  {quote}",
                hop.hop,
                a = widths[0],
                n = widths[1],
                r = widths[2]
            );
            let _ = writeln!(out, "{}", line.trim_end());
        }
        if open.is_some() {
            let _ = writeln!(
                out,
                "        {rule} {what} before the end of the path {rule}"
            );
        }
        let _ = writeln!(out, "        {end}");
    }
}

fn destination(finding: &Finding) -> String {
    let service = &finding.service;
    match service.address {
        Some(address) if address.to_string() != service.host => {
            format!("{} [{address}] port {}", service.host, service.port)
        }
        _ => format!("{} port {}", service.host, service.port),
    }
}

fn cells(hop: &Hop, has_quotes: bool, signs: Signs) -> [String; 4] {
    let address = hop
        .address
        .map_or_else(|| "*".to_owned(), |a| a.to_string());
    let system = hop.asn.map(|asn| format!("AS{asn}"));
    let name = [system, hop.holder.clone(), hop.name.clone()];
    let name: Vec<String> = name.into_iter().flatten().collect();
    let rtt = hop.rtt_ms.map_or_else(String::new, |rtt| {
        if rtt < 1.0 {
            format!("{rtt:.2} ms")
        } else {
            format!("{rtt:.1} ms")
        }
    });
    let quote = match (hop.changed, hop.address) {
        (Some(false), _) => format!("{} as sent", signs.same),
        (Some(true), _) => {
            let was = hop.was.as_deref().unwrap_or_default();
            let became = hop.became.as_deref().unwrap_or_default();
            if was.is_empty() && became.is_empty() {
                format!("{} changed", signs.changed)
            } else {
                format!("{} {was:?} {} {became:?}", signs.changed, signs.arrow)
            }
        }
        (None, None) => format!("{} silent", signs.silent),
        (None, Some(_)) if !has_quotes => String::new(),
        // Longer quotes are of other packets: STARTTLS itself was not sent to this hop.
        (None, Some(_)) => match hop.quoted {
            Some(bytes) if bytes < WHOLE_QUOTE => {
                format!("{} quotes {bytes} bytes, too few", signs.unknown)
            }
            Some(_) => String::new(),
            None => format!("{} quotes nothing", signs.unknown),
        },
    };
    [address, name.join(" "), rtt, quote]
}

#[cfg(test)]
mod tests {
    use super::*;
    use hoofbeat_diagnosis::{
        Confidence, Credible, DirectedPath, Encryption, Location, LocationClass, Mechanism,
        PathReport,
    };
    use hoofbeat_observation::{Scheme, Service};

    fn hop(number: u8, address: Option<&str>, changed: Option<bool>) -> Hop {
        Hop {
            hop: number,
            address: address.map(|a| a.parse().unwrap()),
            rtt_ms: address.map(|_| f64::from(number) * 1.5),
            quoted: address.map(|_| 50),
            changed,
            was: changed.filter(|c| *c).map(|_| "STARTTLS".to_owned()),
            became: changed.filter(|c| *c).map(|_| "XXXXXXXX".to_owned()),
            name: None,
            asn: None,
            holder: None,
        }
    }

    fn finding(hops: Vec<Hop>, after_hop: u8, up_to_hop: u8) -> Finding {
        Finding {
            service: Service {
                scheme: Scheme::Smtp,
                host: "mx.example.org".to_owned(),
                address: "198.51.100.25".parse().ok(),
                port: 25,
            },
            verdict: Verdict::Interference,
            mechanism: Some(Mechanism::CommandRewritten),
            product: None,
            location: Location {
                class: LocationClass::AccessNetwork,
                probability: 0.9,
                posterior: std::collections::BTreeMap::default(),
                segment: Some(Segment {
                    after_hop,
                    up_to_hop,
                }),
                credible: None,
                weighed: Vec::new(),
            },
            confidence: Confidence::Likely,
            encryption: Encryption::None,
            tls: None,
            weaknesses: Vec::new(),
            evidence: Vec::new(),
            innocent: Vec::new(),
            not_run: Vec::new(),
            next: None,
            remedies: Vec::new(),
            path: Some(PathReport {
                hops,
                engine: Engine::Raw,
                direction: Direction::ToServer,
                paths: Vec::new(),
            }),
            witness: None,
        }
    }

    #[test]
    fn where_nobody_is_accused_nothing_is_called_changed() {
        let hops = vec![hop(1, Some("192.168.1.1"), Some(false)), hop(2, None, None)];
        let mut finding = finding(hops, 1, 2);
        finding.verdict = Verdict::Inconclusive;
        let text = draw(&finding, ASCII);
        assert!(text.contains("fails in this stretch"), "{text}");
        assert!(!text.contains("changed in this stretch"), "{text}");
    }

    #[test]
    fn a_path_is_drawn_with_its_stretch() {
        let mut hops = vec![
            hop(1, Some("192.168.1.1"), Some(false)),
            hop(2, Some("203.0.113.1"), Some(false)),
            hop(3, Some("198.18.3.1"), Some(true)),
            hop(4, None, None),
            hop(5, Some("198.18.55.1"), None),
        ];
        hops[0].name = Some("router.lan".to_owned());
        hops[1].asn = Some(64500);
        hops[1].holder = Some("Example ISP".to_owned());
        hops[4].quoted = Some(28);
        let mut finding = finding(hops, 2, 3);
        finding.location.credible = Some(Credible {
            after_hop: 2,
            up_to_hop: 3,
            probability: 0.963,
        });
        assert_eq!(
            draw(&finding, UNICODE),
            "
  Path to the server (raw engine)
     0  this computer
     1  192.168.1.1  router.lan           1.5 ms  ✓ as sent
     2  203.0.113.1  AS64500 Example ISP  3.0 ms  ✓ as sent
        ╌╌╌╌╌╌ changed in this stretch ╌╌╌╌╌╌
     3  198.18.3.1                        4.5 ms  ✗ \"STARTTLS\" → \"XXXXXXXX\"
     4  *                                         · silent
     5  198.18.55.1                       7.5 ms  ? quotes 28 bytes, too few
        mx.example.org [198.51.100.25] port 25
    With 96 % probability it lies behind hop 2 and up to hop 3.
"
        );
    }

    #[test]
    fn a_wide_stretch_has_two_borders_and_ascii_does_without_signs() {
        let hops = vec![
            hop(1, Some("192.0.2.1"), Some(false)),
            hop(2, None, None),
            hop(3, Some("198.18.3.1"), Some(true)),
        ];
        assert_eq!(
            draw(&finding(hops, 1, 3), ASCII),
            "
  Path to the server (raw engine)
     0  this computer
     1  192.0.2.1     1.5 ms  ok as sent
        ------ changed behind here ------
     2  *                     . silent
        ------ and before here ------
     3  198.18.3.1    4.5 ms  X \"STARTTLS\" -> \"XXXXXXXX\"
        mx.example.org [198.51.100.25] port 25
"
        );
    }

    #[test]
    fn behind_the_last_hop_and_both_directions() {
        let there = vec![hop(1, Some("192.0.2.1"), Some(false))];
        let mut finding = finding(there.clone(), 1, 2);
        if let Some(report) = &mut finding.path {
            report.paths = vec![
                DirectedPath {
                    direction: Direction::ToServer,
                    engine: Engine::Raw,
                    path: there,
                    segment: finding.location.segment,
                },
                DirectedPath {
                    direction: Direction::ToClient,
                    engine: Engine::Unprivileged,
                    path: vec![hop(1, Some("203.0.113.9"), None)],
                    segment: None,
                },
            ];
        }
        assert_eq!(
            draw(&finding, UNICODE),
            "
  Path to the server (raw engine)
     0  this computer
     1  192.0.2.1    1.5 ms  ✓ as sent
        ╌╌╌╌╌╌ changed before the end of the path ╌╌╌╌╌╌
        mx.example.org [198.51.100.25] port 25

  Path back from the witness; hops count from there (without raw sockets)
     0  the witness
     1  203.0.113.9    1.5 ms
        this computer
"
        );
    }
}
