//! What is said in dialogues with a witness: the ordinary scripts with a token in them, and the one whose capability
//! lists the witness sends with a limited TTL.

use hoofbeat_session::{
    Act, ClientName, Label, Limits, Protocol, Script, ScriptStep, Segment, When,
};
use std::time::Duration;

use super::token;

/// How the client calls itself: on SMTP the name is the token.
pub(crate) fn client_name(token: &str) -> ClientName {
    ClientName(token::greeting_name(token))
}

/// The ordinary script with the token in it; SMTP's stands in the name already. The commands that a box looks for stay as
/// they are.
pub(crate) fn with_token(mut script: Script, token: &str) -> Script {
    match script.protocol {
        Protocol::Imap => {
            let first = script
                .steps
                .iter_mut()
                .find_map(|step| match &mut step.act {
                    Act::Command { segments, .. } => segments.first_mut(),
                    _ => None,
                });
            if let Some(segment) = first {
                segment.bytes.splice(0..0, token.bytes());
            }
        }
        Protocol::Pop3 => {
            // Behind everything that matters: an unknown command may change a box's mind.
            let at = script.steps.len().saturating_sub(1);
            script.steps.insert(at, pop3_token(token));
        }
        Protocol::Smtp | Protocol::Lmtp | Protocol::Sieve => {}
    }
    script
}

/// Asks for the capabilities so many times; nothing else.
pub(crate) fn asking_again(protocol: Protocol, token: &str, rounds: u8, limits: Limits) -> Script {
    let mut steps = vec![always(Act::Greeting)];
    if protocol == Protocol::Pop3 {
        // The witness must know at the first list already whose it is.
        steps.push(pop3_token(token));
    }
    for round in 1..=rounds {
        let line = match protocol {
            Protocol::Smtp => format!("EHLO {}\r\n", token::greeting_name(token)),
            Protocol::Lmtp => format!("LHLO {}\r\n", token::greeting_name(token)),
            Protocol::Imap => format!("{token}r{round} CAPABILITY\r\n"),
            Protocol::Pop3 => "CAPA\r\n".to_owned(),
            Protocol::Sieve => "CAPABILITY\r\n".to_owned(),
        };
        let label = if round == 1 {
            Label::Capabilities
        } else {
            Label::CapabilitiesAgain
        };
        steps.push(always(command(label, line)));
    }
    steps.push(always(Act::Quit));
    Script {
        protocol,
        steps,
        limits,
    }
}

fn pop3_token(token: &str) -> ScriptStep {
    always(command(Label::UnknownVerb, token::pop3_command(token)))
}

fn command(label: Label, line: String) -> Act {
    Act::Command {
        label,
        segments: vec![Segment {
            bytes: line.into_bytes(),
            pause_after: Duration::ZERO,
        }],
    }
}

const fn always(act: Act) -> ScriptStep {
    ScriptStep {
        act,
        when: When::Always,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::witness::{Errandry, Token};

    /// Every script says its token where the witness looks for it, and STARTTLS as ever.
    #[test]
    fn tokens_are_found() {
        let token = Token {
            session: token::session_id([9; 12]),
            errandry: Errandry::Dialogue,
            number: 4,
        };
        let said = token.to_string();
        for protocol in [Protocol::Smtp, Protocol::Imap, Protocol::Pop3] {
            let name = client_name(&said);
            let plain = Script::differential(protocol, &name, "QWRTPSDF", Limits::default());
            let again = asking_again(protocol, &said, 3, Limits::default());
            for script in [with_token(plain.clone(), &said), again] {
                let found = lines(&script)
                    .iter()
                    .filter_map(|line| token::of_line(protocol, line))
                    .next();
                assert_eq!(found.as_ref(), Some(&token));
            }
            let tls = |script: &Script| {
                script
                    .steps
                    .iter()
                    .filter(|step| matches!(step.act, Act::StartTls { .. }))
                    .cloned()
                    .collect::<Vec<_>>()
            };
            assert_eq!(tls(&with_token(plain.clone(), &said)), tls(&plain));
        }
    }

    fn lines(script: &Script) -> Vec<Vec<u8>> {
        let line = |step: &ScriptStep| match &step.act {
            Act::Command { segments, .. } => Some(
                segments
                    .iter()
                    .flat_map(|segment| segment.bytes.clone())
                    .collect(),
            ),
            _ => None,
        };
        script.steps.iter().filter_map(line).collect()
    }
}
