//! Which questions would still change the answer. Never a second probe where the first settled it.
//!
//! | state | asked |
//! |---|---|
//! | clear | nothing (with `thorough`: injection, once) |
//! | not offered, refused, masked, no EHLO | the verb differential first, alone |
//! | interference or doubt behind it | controls and the negative control; other spellings where they tell box types apart |
//! | handshake dies by reset or silence | repeat, siblings, controls |
//! | handshake refused by alert | old TLS versions, controls |
//! | handshake failed by the server's own word, or none offered | controls: other servers tell whether it is this network |
//! | unknown authority or self-signed | siblings, controls |
//! | answers differ | repeat |
//! | nothing answers on the scheme's own port | controls, siblings |
//! | all that answered or declined, and the place open | hops and a witness, the one that tells the leaders apart first |

use alloc::{
    string::{String, ToString},
    vec::Vec,
};
use hoofbeat_observation::{HandshakeOutcome, InvalidReason, Variation, Verification};
use hoofbeat_session::Outcome;

use crate::{
    Confidence, LocationClass, Mechanism, NotRun, Question, Verdict,
    attribution::information,
    bench::{Bench, Offer},
    explain,
    judge::Weighed,
};

/// Most connections to one server, baseline included (attribution notes, "limits of politeness").
const BUDGET: usize = 12;

/// The same where the path is traced, which only happens at the user's wish.
const BUDGET_OF_TRACES: usize = 24;

/// A place is settled from this probability on; one vantage alone never gets there for a third party's network.
const PLACED: f64 = 0.80;

/// What is open, and what will not be asked.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    /// To be asked, in this order.
    pub(crate) open: Vec<Question>,
    /// Tests that were not run, and evidence that counts for nothing.
    pub(crate) not_run: Vec<NotRun>,
    /// Of what will not be asked, the test that would tell most.
    pub(crate) missed: Option<NotRun>,
}

/// Open questions, and those that will not be asked.
pub(crate) fn questions(bench: &Bench<'_, '_>, weighed: &Weighed) -> Asked {
    if bench.is_recorded() {
        let limits = bench
            .hearings
            .iter()
            .find_map(|hearing| match &hearing.dialogue.source {
                hoofbeat_observation::Source::Text { limits, .. } => Some(limits),
                _ => None,
            });
        let not_run = limits
            .into_iter()
            .flatten()
            .take(8)
            .map(|why| NotRun {
                test: "recording".into(),
                why: why.clone(),
            })
            .collect();
        return Asked {
            not_run,
            ..Asked::default()
        };
    }
    let mut used = connections(bench);
    let mut open = Vec::new();
    let mut not_run: Vec<NotRun> = Vec::new();
    let mut missed: Vec<(f64, NotRun)> = Vec::new();
    let leaders = explain::leading_two(&weighed.location);
    let spread = |question: &Question| {
        leaders.map_or(0.0, |(first, second)| {
            information::spread(question, first, second)
        })
    };
    let mut questions = wanted(bench, weighed);
    // Hops and a witness cost most, so they come when everything else was answered or declined.
    let rest = |question: &Question| is_answered(bench, question) || is_declined(bench, question);
    if questions.iter().all(rest) {
        let mut strong = strong(bench, weighed);
        strong.sort_by(|a, b| spread(b).total_cmp(&spread(a)));
        questions.extend(strong);
    }
    for question in questions {
        if is_answered(bench, &question) {
            continue;
        }
        let declined = bench
            .settings
            .declined
            .iter()
            .find(|(test, _)| test == question.id());
        let cost = cost(&question);
        let (most, enough) = match question {
            Question::Trace(_) => (
                BUDGET_OF_TRACES,
                "twenty-four connections to one server are enough",
            ),
            _ => (BUDGET, "twelve connections to one server are enough"),
        };
        let why = match declined {
            Some((_, why)) => Some(why.as_str()),
            None if used + cost > most => Some(enough),
            None => None,
        };
        if let Some(why) = why {
            let test = NotRun {
                test: question.id().into(),
                why: why.into(),
            };
            missed.push((spread(&question), test.clone()));
            not_run.push(test);
            continue;
        }
        used += cost;
        open.push(question);
    }
    if !bench.settings.thorough
        && !bench.service.scheme.is_implicit_tls()
        && weighed.opinion.verdict == Verdict::Clear
    {
        not_run.push(NotRun {
            test: "injection".into(),
            why: "not RFC-legal, so only with --thorough, on a server that you run".to_string(),
        });
    }
    not_run.extend(uncounted(bench));
    // The first of equals: the cheaper one stands before.
    let missed = missed
        .into_iter()
        .reduce(|best, next| if next.0 > best.0 { next } else { best })
        .map(|(_, test)| test);
    Asked {
        open,
        not_run,
        missed,
    }
}

/// Evidence that was brought and counts for nothing, with the reason.
fn uncounted(bench: &Bench<'_, '_>) -> Vec<NotRun> {
    let said = |test: &'static str| {
        move |why: &String| NotRun {
            test: test.into(),
            why: why.clone(),
        }
    };
    let witness = bench
        .testimony
        .iter()
        .filter_map(|testimony| testimony.unweighed.as_ref())
        .map(said("witness"));
    let traces = bench
        .path
        .iter()
        .flat_map(|walk| &walk.failures)
        .take(4)
        .map(said("trace"));
    let vantages = bench.others.unweighed.iter().take(8).map(said("vantages"));
    witness.chain(traces).chain(vantages).collect()
}

/// The strong means, where the place, or whether it is the server's own doing, is still open.
fn strong(bench: &Bench<'_, '_>, weighed: &Weighed) -> Vec<Question> {
    let opinion = &weighed.opinion;
    let location = &weighed.location;
    let settled = location.class != LocationClass::Undetermined && location.probability > PLACED;
    let open = match opinion.verdict {
        Verdict::Interference => !settled,
        Verdict::Inconclusive => opinion.mechanism.is_some() && opinion.state.is_some(),
        // Somebody nearer may have said it in the server's words.
        Verdict::Server => {
            weighed.confidence > Confidence::Established
                && matches!(
                    opinion.mechanism,
                    Some(Mechanism::NotOffered | Mechanism::TlsUnavailable)
                )
        }
        // Who closes the port?
        Verdict::Unreachable => bench.service.port == bench.service.scheme.default_port(),
        Verdict::Clear => false,
    };
    if !open || bench.is_text() {
        return Vec::new();
    }
    alloc::vec![
        Question::Trace(bench.service.clone()),
        Question::Witness(bench.service.scheme, bench.service.port),
    ]
}

/// Connections to this server so far, siblings at its address included.
fn connections(bench: &Bench<'_, '_>) -> usize {
    let here = |service: &hoofbeat_observation::Service| {
        service.address == bench.service.address && service.host == bench.service.host
    };
    bench.hearings.len()
        + bench
            .siblings
            .iter()
            .filter(|sibling| here(&sibling.dialogue.service))
            .count()
}

fn cost(question: &Question) -> usize {
    match question {
        Question::Repeat(_, times) => usize::from(*times),
        Question::Siblings(_) => 3,
        Question::LegacyTls(_) => 2,
        // Other servers pay for these.
        Question::Controls(..) | Question::NegativeControl(_) | Question::Witness(..) => 0,
        Question::Trace(_) => 3,
        _ => 1,
    }
}

fn is_answered(bench: &Bench<'_, '_>, question: &Question) -> bool {
    let has = |variation: Variation| {
        bench
            .hearings
            .iter()
            .any(|hearing| hearing.dialogue.variation == variation)
    };
    match question {
        Question::Differential(_) => has(Variation::Differential),
        Question::MixedCase(_) => has(Variation::MixedCase),
        Question::SplitVerb(_) => has(Variation::SplitVerb),
        Question::Repeat(..) => has(Variation::Repeat),
        Question::Siblings(_) => bench.siblings.iter().any(|sibling| {
            sibling
                .dialogue
                .service
                .host
                .eq_ignore_ascii_case(&bench.service.host)
        }),
        Question::Controls(..) => bench.controls_here().next().is_some(),
        Question::NegativeControl(port) => bench
            .negatives
            .iter()
            .any(|hearing| hearing.dialogue.service.port == *port),
        Question::LegacyTls(_) => has(Variation::LegacyTls),
        Question::Injection(_) => has(Variation::Injection),
        Question::Trace(_) => bench.path.is_some(),
        Question::Witness(..) => bench.testimony.is_some(),
    }
}

fn wanted(bench: &Bench<'_, '_>, weighed: &Weighed) -> Vec<Question> {
    use Mechanism as M;
    let service = || bench.service.clone();
    let controls = || Question::Controls(bench.service.scheme, bench.service.port);
    let negative = || Question::NegativeControl(bench.service.port);
    let opinion = &weighed.opinion;
    let settled = weighed.confidence == Confidence::Established;
    if opinion.verdict == Verdict::Clear {
        let may_inject = bench.settings.thorough && !bench.service.scheme.is_implicit_tls();
        return may_inject
            .then(|| Question::Injection(service()))
            .into_iter()
            .collect();
    }
    if opinion.verdict == Verdict::Unreachable {
        let own_port = bench.service.port == bench.service.scheme.default_port();
        return if own_port {
            alloc::vec![controls(), Question::Siblings(service())]
        } else {
            Vec::new()
        };
    }
    if !bench
        .hearings
        .iter()
        .any(|hearing| crate::bench::is_welcomed(hearing) || hearing.handshake().is_some())
    {
        // Turned away: asking more often is the wrong answer to a limit.
        return Vec::new();
    }
    // A server that has no TLS, or fails at it, in its own words: only the controls could still contradict it.
    if opinion.verdict == Verdict::Server && settled {
        let others = matches!(opinion.mechanism, Some(M::NotOffered | M::StarttlsBroken));
        return others.then(controls).into_iter().collect();
    }
    let differential = Question::Differential(service());
    let Some(mechanism) = opinion.mechanism else {
        let tried = !bench.attempts().is_empty() || bench.service.scheme.is_implicit_tls();
        let listed = bench.hearings.iter().any(|hearing| {
            hearing
                .list_steps(hoofbeat_session::Layer::Plain)
                .any(|step| step.answered())
        });
        return alloc::vec![if tried || !listed {
            Question::Repeat(service(), 2)
        } else {
            differential
        }];
    };
    match mechanism {
        M::HandshakeReset | M::HandshakeBlackholed => alloc::vec![
            Question::Repeat(service(), 2),
            Question::Siblings(service()),
            controls()
        ],
        M::StarttlsBroken | M::TlsDowngraded => {
            let by_version = bench
                .hearings
                .iter()
                .filter_map(|hearing| hearing.handshake())
                .any(|handshake| {
                    matches!(
                        handshake.outcome,
                        HandshakeOutcome::Alert { .. } | HandshakeOutcome::Failed { .. }
                    )
                });
            if by_version {
                alloc::vec![Question::LegacyTls(service()), controls()]
            } else {
                alloc::vec![controls()]
            }
        }
        M::CertificateInvalid | M::TlsIntercepted => {
            let doubtful = bench
                .completed()
                .filter_map(|hearing| hearing.completed())
                .any(|handshake| {
                    matches!(
                        &handshake.verification,
                        Verification::Invalid {
                            reason: InvalidReason::UnknownIssuer | InvalidReason::SelfSigned,
                            ..
                        }
                    )
                });
            if doubtful || mechanism == M::TlsIntercepted {
                alloc::vec![Question::Siblings(service()), controls()]
            } else {
                Vec::new()
            }
        }
        M::PlaintextInjected | M::PortBlocked => alloc::vec![controls()],
        M::BannerMasked if bench.offer() == Offer::Always => alloc::vec![controls()],
        M::TlsUnavailable
            if opinion.verdict == Verdict::Server && weighed.confidence <= Confidence::Likely =>
        {
            Vec::new()
        }
        _ if !is_answered(bench, &differential) && !is_declined(bench, &differential) => {
            alloc::vec![differential]
        }
        M::CommandDropped => alloc::vec![
            Question::MixedCase(service()),
            Question::SplitVerb(service()),
            controls(),
            negative()
        ],
        M::CommandRefused | M::CapabilityRemoved if opinion.product.is_none() && !settled => {
            alloc::vec![Question::MixedCase(service()), controls(), negative()]
        }
        _ if opinion.verdict == Verdict::Server && opinion_is_own(bench) => alloc::vec![controls()],
        _ if bench
            .attempts()
            .iter()
            .any(|(_, step)| step.exchange.outcome == Outcome::Reset) =>
        {
            alloc::vec![Question::Repeat(service(), 2), controls()]
        }
        _ => alloc::vec![differential, controls(), negative()],
    }
}

fn is_declined(bench: &Bench<'_, '_>, question: &Question) -> bool {
    bench
        .settings
        .declined
        .iter()
        .any(|(test, _)| test == question.id())
}

/// The server refused in its own words: nothing more is to be learnt from others.
fn opinion_is_own(bench: &Bench<'_, '_>) -> bool {
    bench.attempts().iter().any(|(hearing, step)| {
        step.refused()
            && matches!(
                crate::fingerprint::wording::origin(hearing, step, bench.dialect),
                crate::fingerprint::wording::Origin::Own(_, refusal) if refusal != crate::dialect::Refusal::Unknown
            )
    })
}
