//! The packet-level boxes on real kernels: client – r1 – r2 – server in network namespaces, and what either end sees.
//!
//! Each test is a process tree of its own, which ends with it. Where namespaces are not to be had the tests say so and
//! pass; with `CI=true` they fail instead.

#[path = "devices/net.rs"]
mod net;

use std::io::{ErrorKind, Write};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hoofbeat_lab::topology::device::packet::{Segment, flag};
use hoofbeat_lab::topology::device::{self, DeviceError, DeviceSpec, Installed, Surroundings};

use net::{Family, Net, inside};

const CISCO: &str = "kind='rewrite'\nbox=[{kind='cisco'}]\n";

fn spec(text: &str) -> DeviceSpec {
    toml::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn install(net: &Net, node: &str, text: &str) -> Installed {
    device::install(&spec(text), net.node(node), &Surroundings::default())
        .unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn healthy(device: &Installed) {
    let counts = device.counts();
    assert_eq!((counts.refused, counts.failed), (0, 0), "{counts:?}");
}

/// Where the quote of a command that was sent with a small TTL changes: one entry per hop.
fn quotes(net: &Net, family: Family) -> Vec<(IpAddr, String)> {
    let icmp = net.icmp(family);
    let mut talk = net.talk(family, 25);
    talk.greeting();
    talk.ask("EHLO probe.test");
    (1..=2)
        .map(|ttl| {
            let quote = talk.quote(&icmp, ttl, "STARTTLS\r\n");
            assert!(quote.sealed, "the quoted segment's checksum at hop {ttl}");
            talk.reply();
            (quote.from, quote.payload)
        })
        .collect()
}

fn hops(net: &Net, family: Family, payloads: [&str; 2]) -> Vec<(IpAddr, String)> {
    let address = |node| net.left_of(node, family);
    vec![
        (address("r1"), payloads[0].to_owned()),
        (address("r2"), payloads[1].to_owned()),
    ]
}

const PLAIN: &str = "STARTTLS\r\n";
const CROSSED: &str = "XXXXXXXX\r\n";

#[test]
fn nothing_installed_nothing_changed() {
    inside("nothing_installed_nothing_changed", || {
        let net = Net::build();
        for family in Family::BOTH {
            assert_eq!(quotes(&net, family), hops(&net, family, [PLAIN, PLAIN]));
            assert!(net.talk(family, 25).dialogue().contains("250-STARTTLS"));
        }
    });
}

#[test]
fn a_rewriter_behind_the_ttl_check() {
    inside("a_rewriter_behind_the_ttl_check", || {
        let net = Net::build();
        let device = install(&net, "r1", CISCO);
        for family in Family::BOTH {
            assert_eq!(quotes(&net, family), hops(&net, family, [PLAIN, CROSSED]));
            let seen = net.talk(family, 25).dialogue();
            assert!(
                seen.contains("220 ****") && seen.contains("250-XXXXXXXA"),
                "{seen}"
            );
            assert!(net.server_got(CROSSED) && !net.server_got(PLAIN));
        }
        healthy(&device);
        drop(device);
        let mut talk = net.talk(Family::V4, 25);
        assert!(talk.dialogue().contains("250-STARTTLS"), "it ended");
        assert_eq!(net.rules("r1"), "", "no rule is left");
    });
}

#[test]
fn a_rewriter_before_the_ttl_check() {
    inside("a_rewriter_before_the_ttl_check", || {
        let net = Net::build();
        let device = install(&net, "r1", &format!("{CISCO}hook='ingress'"));
        for family in Family::BOTH {
            assert_eq!(quotes(&net, family), hops(&net, family, [CROSSED, CROSSED]));
        }
        healthy(&device);
    });
}

#[test]
fn a_rewriter_on_a_link() {
    inside("a_rewriter_on_a_link", || {
        let net = Net::build();
        for (hook, first) in [("client-link", CROSSED), ("server-link", PLAIN)] {
            let device = install(&net, "r1", &format!("{CISCO}hook='{hook}'"));
            assert_eq!(
                quotes(&net, Family::V4),
                hops(&net, Family::V4, [first, CROSSED])
            );
            assert!(net.talk(Family::V4, 25).dialogue().contains("250-XXXXXXXA"));
            healthy(&device);
        }
    });
}

#[test]
fn replies_change_where_the_box_stands() {
    inside("replies_change_where_the_box_stands", || {
        let net = Net::build();
        // The server's first hop is r2, its second is r1 with the box.
        for (hook, at_box) in [
            ("egress", "250 STARTTLS\r\n"),
            ("ingress", "250 XXXXXXXA\r\n"),
            ("client-link", "250 STARTTLS\r\n"),
            ("server-link", "250 XXXXXXXA\r\n"),
        ] {
            let text = format!(
                "kind='rewrite'\nhook='{hook}'\nonly={{ports=[2525]}}\n\
                 box=[{{kind='mask',from-server=[{{from='STARTTLS',to='XXXXXXXA'}}]}}]"
            );
            let device = install(&net, "r1", &text);
            for family in Family::BOTH {
                let icmp = net.icmp_at("server", family);
                let (mut client, mut server) = net.pair(family, 2525);
                for (ttl, expected) in [(1, "250 STARTTLS\r\n"), (2, at_box)] {
                    let quote = server.quote(&icmp, ttl, "250 STARTTLS\r\n");
                    assert_eq!(quote.payload, expected, "{hook} {ttl}");
                    assert_eq!(client.reply(), "250 XXXXXXXA\r\n");
                }
            }
            healthy(&device);
        }
    });
}

#[test]
fn a_rewriter_on_either_host() {
    inside("a_rewriter_on_either_host", || {
        let net = Net::build();
        for (node, payloads) in [("client", [CROSSED; 2]), ("server", [PLAIN; 2])] {
            let device = install(&net, node, &format!("{CISCO}hook='host'"));
            for family in Family::BOTH {
                assert_eq!(quotes(&net, family), hops(&net, family, payloads), "{node}");
                let seen = net.talk(family, 25).dialogue();
                assert!(seen.contains("250-XXXXXXXA"), "{node}: {seen}");
            }
            healthy(&device);
        }
    });
}

#[test]
fn a_bridge_is_no_hop_and_rewrites() {
    inside("a_bridge_is_no_hop_and_rewrites", || {
        let net = Net::with_bridge();
        let device = install(&net, "bridge", &format!("{CISCO}hook='bridge'"));
        for family in Family::BOTH {
            assert_eq!(quotes(&net, family), hops(&net, family, [PLAIN, CROSSED]));
            assert!(net.talk(family, 25).dialogue().contains("250-XXXXXXXA"));
        }
        healthy(&device);
    });
}

#[test]
fn one_direction_and_some_clients() {
    inside("one_direction_and_some_clients", || {
        let net = Net::build();
        let device = install(&net, "r1", &format!("{CISCO}direction='to-client'"));
        let seen = net.talk(Family::V4, 25).dialogue();
        assert!(
            seen.contains("250-XXXXXXXA") && seen.contains("220 go ahead"),
            "{seen}"
        );
        assert!(net.server_got(PLAIN) && !net.server_got(CROSSED));
        drop(device);
        let elsewhere = "only={clients=['198.18.0.0/15','fd77:1::/64']}";
        let _device = install(&net, "r1", &format!("{CISCO}{elsewhere}"));
        assert!(net.talk(Family::V4, 25).dialogue().contains("250-STARTTLS"));
        assert!(net.talk(Family::V6, 25).dialogue().contains("250-XXXXXXXA"));
    });
}

#[test]
fn two_boxes_and_a_bad_link_on_one_node() {
    inside("two_boxes_and_a_bad_link_on_one_node", || {
        let net = Net::build();
        let starttls =
            "kind='rewrite'\nbox=[{kind='mask',from-server=[{from='STARTTLS',to='XXXXXXXA'}]}]";
        let eight =
            "kind='rewrite'\nbox=[{kind='mask',from-server=[{from='8BITMIME',to='YYYYYYYY'}]}]";
        let one = install(&net, "r1", starttls);
        let other = install(&net, "r1", eight);
        let link = install(&net, "r1", "kind='delay'\ndelay-ms=20");
        let begun = Instant::now();
        let seen = net.talk(Family::V4, 25).dialogue();
        assert!(
            seen.contains("250-XXXXXXXA") && seen.contains("250-YYYYYYYY"),
            "{seen}"
        );
        // A handshake and four questions, 40 ms each.
        assert!(
            begun.elapsed() >= Duration::from_millis(200),
            "{:?}",
            begun.elapsed()
        );
        for device in [&one, &other, &link] {
            assert!(device.counts().seen > 5);
            healthy(device);
        }
    });
}

#[test]
fn a_nat_in_the_same_node_disturbs_no_box() {
    inside("a_nat_in_the_same_node_disturbs_no_box", || {
        let net = Net::build();
        net.masquerade("r1");
        for hook in ["egress", "ingress"] {
            let device = install(&net, "r1", &format!("{CISCO}hook='{hook}'"));
            let seen = net.talk(Family::V4, 25).dialogue();
            assert!(seen.contains("250-XXXXXXXA"), "{hook}: {seen}");
            healthy(&device);
        }
        let forger = install(&net, "r1", "kind='forge'");
        let seen = net.talk(Family::V4, 25).dialogue();
        assert!(
            seen.contains("500 Unsupported command.") && seen.contains("221 bye"),
            "{seen}"
        );
        healthy(&forger);
        drop(forger);
        let remover = install(
            &net,
            "r1",
            "kind='terminate'\nbox=[{kind='remove',words=['STARTTLS']}]",
        );
        let seen = net.talk(Family::V4, 25).dialogue();
        assert!(
            !seen.contains("STARTTLS\r\n") && seen.contains("221 bye"),
            "{seen}"
        );
        assert_eq!(remover.counts().seen, 1);
    });
}

#[test]
fn a_proxy_that_keeps_the_clients_address() {
    inside("a_proxy_that_keeps_the_clients_address", || {
        let net = Net::build();
        let device = install(
            &net,
            "r1",
            "kind='terminate'\nbox=[{kind='remove',words=['STARTTLS']}]",
        );
        for family in Family::BOTH {
            let mut talk = net.talk(family, 25);
            let own = talk.own_address();
            let seen = talk.dialogue();
            assert!(
                seen.contains("250 HELP") && !seen.contains("250-STARTTLS"),
                "{seen}"
            );
            assert_eq!(net.last_peer(), own, "address and port");
            // It answers where a router would have let the segment expire.
            let icmp = net.icmp(family);
            let mut talk = net.talk(family, 25);
            talk.greeting();
            talk.is_not_quoted(&icmp, 1, "NOOP\r\n");
            assert_eq!(talk.reply(), "250 ok\r\n");
            // Where nobody listens it accepts too, and only then finds out.
            let dead = net.connect(net.right_of("r2", family), 25);
            let refused = dead.is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused);
            assert!(!refused, "the handshake was done");
        }
        net::until(|| device.counts().seen == 6, "six connections");
        drop(device);
        assert_eq!(net.rules("r1"), "", "no rule is left");
        assert!(net.talk(Family::V4, 25).dialogue().contains("250-STARTTLS"));
    });
}

#[test]
fn a_proxy_with_an_address_of_its_own() {
    inside("a_proxy_with_an_address_of_its_own", || {
        let net = Net::build();
        let text = "kind='terminate'\naddress='own'\nbox=[{kind='remove',words=['STARTTLS']}]";
        let device = install(&net, "r1", text);
        for family in Family::BOTH {
            let seen = net.talk(family, 25).dialogue();
            assert!(
                seen.contains("250 HELP") && !seen.contains("250-STARTTLS"),
                "{seen}"
            );
            assert_eq!(net.last_peer().ip(), net.right_of("r1", family));
        }
        drop(device);
        for node in ["client", "server"] {
            let device = install(&net, node, &format!("{text}\nhook='host'"));
            for family in Family::BOTH {
                let seen = net.talk(family, 25).dialogue();
                assert!(
                    seen.contains("250 HELP") && !seen.contains("250-STARTTLS"),
                    "{node}: {seen}"
                );
            }
            assert_eq!(device.counts().seen, 2, "{node}");
        }
        let error = device::install(
            &spec("kind='terminate'\nhook='host'"),
            net.node("client"),
            &Surroundings::default(),
        );
        assert!(matches!(error, Err(DeviceError::Misplaced { .. })));
    });
}

#[test]
fn an_interceptor_shows_its_own_certificate() {
    inside("an_interceptor_shows_its_own_certificate", || {
        let net = Net::build();
        let text = "kind='terminate'\nbox=[{kind='handshake',act='intercept',issuer='Carrier CA',plain-upstream=true}]";
        let interceptor = device::interceptor(&spec(text), &["mx.lab.test"])
            .expect("certificates")
            .expect("an interceptor");
        assert!(!interceptor.trusted);
        let around = Surroundings {
            interceptor: Some(Arc::clone(&interceptor.settings)),
            ..Surroundings::default()
        };
        let _device = device::install(&spec(text), net.node("r2"), &around).expect("installed");
        for family in Family::BOTH {
            let mut talk = net.talk(family, 25);
            talk.greeting();
            assert_eq!(talk.ask("STARTTLS"), "220 Go ahead\r\n");
            let issuer = talk.upgrade(&interceptor.ca_pem, "mx.lab.test");
            assert!(issuer.contains("Carrier CA"), "{issuer}");
            assert!(!net.server_got(PLAIN), "the server never heard of it");
        }
    });
}

#[test]
fn a_forger_in_the_path() {
    inside("a_forger_in_the_path", || {
        let net = Net::build();
        let device = install(&net, "r1", "kind='forge'\nttl={own=40}");
        for family in Family::BOTH {
            let mut talk = net.talk(family, 25);
            talk.greeting();
            talk.ask("EHLO x");
            let packets = net.watch("client", family);
            assert_eq!(talk.ask("STARTTLS"), "500 Unsupported command.\r\n");
            let forged = packets.with(b"500 Unsupported");
            assert_eq!(
                forged.map(|(segment, _)| segment.ttl),
                net.ttl_seen(family, 40)
            );
            // Both sides go on, also after a second one.
            assert_eq!(talk.ask("NOOP"), "250 ok\r\n");
            assert_eq!(talk.ask("starttls"), "500 Unsupported command.\r\n");
            assert_eq!(talk.ask("NOOP"), "250 ok\r\n");
            let genuine = packets.with(b"250 ok");
            assert_eq!(
                genuine.map(|(segment, _)| segment.ttl),
                net.ttl_seen(family, 62)
            );
            assert_eq!(talk.ask("QUIT"), "221 bye\r\n");
            assert_eq!(talk.rest(), "", "closed in order");
            assert!(!net.server_got("TTLS") && !net.server_got("ttls"));
            // A probe that would expire at the next hop is answered, and no quote comes.
            let icmp = net.icmp(family);
            let mut talk = net.talk(family, 25);
            talk.greeting();
            talk.quote(&icmp, 1, "STARTTLS\r\n");
            assert_eq!(talk.reply(), "500 Unsupported command.\r\n");
            talk.is_not_quoted(&icmp, 2, "STARTTLS\r\n");
            assert_eq!(talk.reply(), "500 Unsupported command.\r\n");
            assert_eq!(talk.ask("QUIT"), "221 bye\r\n");
        }
        healthy(&device);
    });
}

#[test]
fn a_forger_survives_loss() {
    inside("a_forger_survives_loss", || {
        let net = Net::build();
        let forger = install(&net, "r2", "kind='forge'");
        let link = install(
            &net,
            "r1",
            "kind='impair'\ndelay-ms=5\nloss-percent=15\nseed=11",
        );
        for _ in 0..4 {
            let seen = net.talk(Family::V4, 25).dialogue();
            assert!(
                seen.contains("500 Unsupported command.") && seen.contains("221 bye"),
                "{seen}"
            );
        }
        assert!(link.counts().swallowed > 0);
        healthy(&forger);
        healthy(&link);
    });
}

#[test]
fn a_forger_beside_the_path() {
    inside("a_forger_beside_the_path", || {
        let net = Net::build();
        let device = install(
            &net,
            "r1",
            "kind='forge'\nstance='on-path'\ntext='454 TLS not available'\nttl='copied'",
        );
        for family in Family::BOTH {
            let icmp = net.icmp(family);
            let mut talk = net.talk(family, 25);
            talk.greeting();
            let packets = net.watch("client", family);
            // The probe expires behind the tap: both a forged answer and a quote.
            let quote = talk.quote(&icmp, 2, "STARTTLS\r\n");
            assert_eq!(
                (quote.from, quote.payload.as_str()),
                (net.left_of("r2", family), PLAIN)
            );
            // Copied after r1 took one off, so it does not even pass r1's next neighbour; here it is the client.
            let forged = packets.with(b"454 TLS");
            assert_eq!(
                forged.map(|(segment, _)| segment.ttl),
                net.ttl_seen(family, 1)
            );
            assert_eq!(talk.reply(), "454 TLS not available\r\n");
            let mut talk = net.talk(family, 25);
            talk.greeting();
            talk.say("STARTTLS\r\n");
            assert_eq!(talk.reply(), "454 TLS not available\r\n");
            net.await_server(PLAIN);
        }
        healthy(&device);
    });
}

#[test]
fn a_dropper() {
    inside("a_dropper", || {
        let net = Net::build();
        let device = install(&net, "r1", "kind='drop'");
        for family in Family::BOTH {
            let icmp = net.icmp(family);
            let mut talk = net.talk(family, 25);
            talk.greeting();
            assert_eq!(talk.ask("NOOP"), "250 ok\r\n");
            talk.quote(&icmp, 1, "STARTTLS\r\n");
            talk.is_not_quoted(&icmp, 2, "");
            assert!(talk.hears_nothing());
        }
        assert!(device.counts().swallowed > 0);
        healthy(&device);
        drop(device);
        let _device = install(
            &net,
            "r1",
            "kind='drop'\ntrigger={server-name='mx.lab.test'}\nscope='flow'",
        );
        let mut talk = net.talk(Family::V4, 25);
        talk.greeting();
        talk.hello("other.test");
        net.await_server("other.test");
        let mut talk = net.talk(Family::V4, 25);
        talk.greeting();
        talk.hello("mx.lab.test");
        assert!(talk.hears_nothing());
        assert!(!net.server_got("mx.lab.test"));
    });
}

#[test]
fn a_reset_injector() {
    inside("a_reset_injector", || {
        let net = Net::build();
        for (text, client, server) in [
            ("kind='reset'", true, true),
            (
                "kind='reset'\ndirection='to-client'\nswallows=true",
                true,
                false,
            ),
            (
                "kind='reset'\ndirection='to-server'\nswallows=true",
                false,
                true,
            ),
        ] {
            let device = install(&net, "r1", text);
            for family in Family::BOTH {
                let resets = net.resets();
                let mut talk = net.talk(family, 25);
                talk.greeting();
                let packets = net.watch("client", family);
                talk.say("STARTTLS\r\n");
                assert_eq!(talk.is_reset(), client, "{text}");
                if client {
                    let forged = packets.with_flag(flag::RST).expect("a reset");
                    assert_eq!(Some(forged.ttl), net.ttl_seen(family, 64));
                }
                if server {
                    net.await_resets(resets + 1);
                } else {
                    assert_eq!(net.resets(), resets, "{text}");
                }
            }
            healthy(&device);
        }
    });
}

#[test]
fn three_ways_to_block_a_port() {
    inside("three_ways_to_block_a_port", || {
        let net = Net::build();
        for (how, v4, v6) in [
            ("drop", ErrorKind::TimedOut, ErrorKind::TimedOut),
            (
                "reset",
                ErrorKind::ConnectionRefused,
                ErrorKind::ConnectionRefused,
            ),
            (
                "icmp",
                ErrorKind::HostUnreachable,
                ErrorKind::PermissionDenied,
            ),
        ] {
            let device = install(
                &net,
                "r1",
                &format!("kind='block'\nhow='{how}'\nonly={{ports=[25]}}"),
            );
            for (family, expected) in [(Family::V4, v4), (Family::V6, v6)] {
                let refused = net.connect(net.server(family), 25).expect_err("blocked");
                assert_eq!(refused.kind(), expected, "{how} {family:?}");
                assert!(net.talk(family, 587).dialogue().contains("250-STARTTLS"));
            }
            drop(device);
            assert!(net.connect(net.server(Family::V4), 25).is_ok());
        }
    });
}

#[test]
fn a_bridge_blocks_a_port() {
    inside("a_bridge_blocks_a_port", || {
        let net = Net::with_bridge();
        for (how, expected) in [
            ("drop", ErrorKind::TimedOut),
            ("reset", ErrorKind::ConnectionRefused),
        ] {
            let text = format!("kind='block'\nhow='{how}'\nhook='bridge'\nonly={{ports=[25]}}");
            let _device = install(&net, "bridge", &text);
            for family in Family::BOTH {
                let refused = net.connect(net.server(family), 25).expect_err("blocked");
                assert_eq!(refused.kind(), expected, "{how} {family:?}");
                assert!(net.talk(family, 587).dialogue().contains("250-STARTTLS"));
            }
        }
        for text in [
            "kind='block'\nhow='icmp'\nhook='bridge'",
            "kind='forge'\nhook='bridge'",
        ] {
            let none = device::install(&spec(text), net.node("bridge"), &Surroundings::default());
            assert!(matches!(none, Err(DeviceError::Misplaced { .. })), "{text}");
        }
    });
}

#[test]
fn a_header_in_plain_http() {
    inside("a_header_in_plain_http", || {
        let net = Net::build();
        let _device = install(
            &net,
            "r2",
            "kind='http-header'\nname='X-UIDH'\nvalue='OTgxNT'",
        );
        for family in Family::BOTH {
            let mut talk = net.talk(family, 8080);
            let request = format!("GET / HTTP/1.1\r\nHost: {family:?}\r\n");
            talk.say(&format!("{request}\r\n"));
            net.await_server(&format!("{request}X-UIDH: OTgxNT\r\n\r\n"));
            assert_eq!(net.last_peer(), talk.own_address());
        }
    });
}

#[test]
fn routers_that_quote_little_or_nothing() {
    inside("routers_that_quote_little_or_nothing", || {
        let net = Net::build();
        let device = install(&net, "r1", "kind='short-quotes'");
        let silent = install(&net, "r2", "kind='silent'");
        let icmp = net.icmp(Family::V4);
        let mut talk = net.talk(Family::V4, 25);
        talk.greeting();
        let quote = talk.quote(&icmp, 1, "NOOP\r\n");
        assert_eq!(
            (quote.from, quote.transport),
            (net.left_of("r1", Family::V4), 8)
        );
        assert_eq!(talk.reply(), "250 ok\r\n");
        talk.is_not_quoted(&icmp, 2, "NOOP\r\n");
        assert_eq!(talk.reply(), "250 ok\r\n");
        assert!(device.counts().changed > 0);
        healthy(&device);
        drop((device, silent));
        for ttl in [1, 2] {
            let quote = talk.quote(&icmp, ttl, "NOOP\r\n");
            assert_eq!(quote.payload, "NOOP\r\n");
            assert_eq!(talk.reply(), "250 ok\r\n");
        }
    });
}

#[test]
fn a_router_that_lifts_low_ttls() {
    inside("a_router_that_lifts_low_ttls", || {
        let net = Net::build();
        let _device = install(&net, "r1", "kind='ttl-normalise'\nfloor=9\nhook='ingress'");
        for family in Family::BOTH {
            let icmp = net.icmp(family);
            let mut talk = net.talk(family, 25);
            talk.greeting();
            talk.is_not_quoted(&icmp, 1, "NOOP\r\n");
            assert_eq!(talk.reply(), "250 ok\r\n");
        }
    });
}

#[test]
fn a_link_that_loses_everything_and_one_that_loses_some() {
    inside(
        "a_link_that_loses_everything_and_one_that_loses_some",
        || {
            let net = Net::build();
            let all = install(&net, "r1", "kind='loss'\nloss-percent=100");
            let error = net.connect(net.server(Family::V4), 25).expect_err("lost");
            assert_eq!(error.kind(), ErrorKind::TimedOut);
            healthy(&all);
            drop(all);
            let some = install(&net, "r1", "kind='loss'\nloss-percent=20\nseed=3");
            for family in Family::BOTH {
                assert!(net.talk(family, 25).dialogue().contains("221 bye"));
            }
            let counts = some.counts();
            assert!(
                counts.swallowed > 0 && counts.swallowed * 2 < counts.seen,
                "{counts:?}"
            );
        },
    );
}

#[test]
fn a_clean_reading_of_the_wire() {
    inside("a_clean_reading_of_the_wire", || {
        let net = Net::build();
        let packets = net.watch("client", Family::V4);
        let mut talk = net.talk(Family::V4, 25);
        talk.greeting();
        talk.stream.write_all(b"QUIT\r\n").expect("sent");
        assert_eq!(talk.rest(), "221 bye\r\n");
        let (segment, bytes) = packets.with(b"221 bye").expect("a packet");
        assert_eq!(Segment::read(&bytes), Some(segment.clone()));
        assert_eq!(Some(segment.ttl), net.ttl_seen(Family::V4, 62));
    });
}
