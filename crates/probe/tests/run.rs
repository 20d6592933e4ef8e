//! Several asks at once: tentative services, budgets, deadlines, progress and controls.

mod scripted;

use std::{sync::Mutex, time::Duration};

use hoofbeat_observation::{Role, Scheme, Variation};
use hoofbeat_probe::{Ask, Budget, Control, NotRun, Progress, Target, control_asks, discover, run};
use scripted::{Do, Hear, Pause, Say, context, dialogue, serve, service};

fn polite() -> Vec<Do> {
    vec![
        Say("220 mx\r\n"),
        Hear("EHLO"),
        Say("250 mx\r\n"),
        Hear("QUIT"),
        Say("221 bye\r\n"),
    ]
}

async fn closed() -> std::net::SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
}

fn tentative(address: std::net::SocketAddr) -> Ask {
    Ask {
        tentative: true,
        ..Ask::baseline(service(Scheme::Submission, "mx.example", address))
    }
}

#[tokio::test]
async fn a_guess_that_is_not_there_is_no_target() {
    let asks = vec![
        tentative(closed().await),
        Ask::baseline(service(Scheme::Smtp, "mx.example", serve(polite()).await)),
    ];
    let run = run(asks, &context(), &|_| {}).await;
    let roles: Vec<_> = run
        .measurements
        .iter()
        .map(|m| dialogue(m).role.clone())
        .collect();
    assert_eq!(roles, [Role::Sibling, Role::Target]);
    assert_eq!(
        run.measurements
            .iter()
            .map(|m| m.id.as_str())
            .collect::<std::collections::HashSet<_>>()
            .len(),
        2
    );
}

#[tokio::test]
async fn where_nothing_is_there_the_first_guess_stands_for_all() {
    let asks = vec![tentative(closed().await), tentative(closed().await)];
    let run = run(asks, &context(), &|_| {}).await;
    let roles: Vec<_> = run
        .measurements
        .iter()
        .map(|m| dialogue(m).role.clone())
        .collect();
    assert_eq!(roles, [Role::Target, Role::Sibling]);
}

#[tokio::test]
async fn the_budget_and_the_deadline_are_told() {
    let address = serve(polite()).await;
    let mut context = context();
    context.budget = Budget::new(2);
    let ask = Ask::baseline(service(Scheme::Smtp, "mx.example", address));
    let spent = run(
        vec![ask.clone(), ask.clone(), ask.clone()],
        &context,
        &|_| {},
    )
    .await;
    assert_eq!(spent.measurements.len(), 2);
    assert_eq!(spent.not_run, [(ask.clone(), NotRun::BudgetSpent)]);
    assert_eq!(
        (
            context.budget.made(),
            context.budget.remaining(address.ip(), address.port())
        ),
        (2, 0)
    );
    context.deadline = Duration::ZERO;
    context.budget = Budget::default();
    let late = run(vec![ask.clone()], &context, &|_| {}).await;
    assert_eq!(late.not_run, [(ask, NotRun::OutOfTime)]);
}

#[tokio::test]
async fn services_are_asked_at_the_same_time_and_progress_is_shown() {
    let mut asks = Vec::new();
    for _ in 0..4 {
        let address = serve([vec![Pause(100)], polite()].concat()).await;
        asks.push(Ask::baseline(service(Scheme::Smtp, "mx.example", address)));
    }
    let shown = Mutex::new(Vec::new());
    let run = run(asks, &context(), &|progress| {
        shown.lock().unwrap().push(match progress {
            Progress::Began(_) => 'b',
            Progress::Step(..) => 's',
            Progress::Ended(..) => 'e',
        });
    })
    .await;
    assert_eq!(run.measurements.len(), 4);
    let shown: String = shown.into_inner().unwrap().into_iter().collect();
    assert!(
        shown.starts_with("bbbb"),
        "all began before one ended: {shown}"
    );
    let count = |kind| shown.chars().filter(|shown| *shown == kind).count();
    assert_eq!((count('s'), count('e')), (12, 4));
}

#[tokio::test]
async fn a_control_of_the_user() {
    let address = serve(polite()).await;
    let control =
        Control::of_user(&Target::parse(&format!("smtp://localhost:{}", address.port())).unwrap());
    let context = context();
    let (asks, failed) = control_asks(&[control], Variation::Baseline, &context).await;
    assert!(failed.is_empty());
    let run = run(asks, &context, &|_| {}).await;
    let role = dialogue(&run.measurements[0]).role.clone();
    assert_eq!(
        role,
        Role::Control {
            operator: "localhost".into(),
            known: vec!["STARTTLS".into()]
        }
    );
}

#[tokio::test]
async fn a_target_on_localhost_needs_no_dns() {
    let address = serve(polite()).await;
    let context = context();
    let target = Target::parse(&format!("smtp://localhost:{}", address.port())).unwrap();
    let discovery = discover(&target, &context).await;
    assert_eq!(discovery.unresolved, None);
    let run = run(discovery.asks.clone(), &context, &|_| {}).await;
    let targets = run
        .measurements
        .iter()
        .filter(|m| dialogue(m).role == Role::Target)
        .count();
    assert_eq!(targets, 1, "the family where nobody listens is a sibling");
}

#[tokio::test]
async fn an_unknown_port_is_recognised_by_its_greeting() {
    for (greeting, scheme) in [
        ("* OK hi\r\n", Scheme::Imap),
        ("+OK hi\r\n", Scheme::Pop3),
        ("\"IMPLEMENTATION\" \"x\"\r\nOK\r\n", Scheme::Sieve),
        ("220 hi\r\n", Scheme::Smtp),
    ] {
        let address = serve(vec![Say(greeting), Pause(100)]).await;
        let target = Target::parse(&address.to_string()).unwrap();
        let discovery = discover(&target, &context()).await;
        assert_eq!(
            discovery.services().next().map(|service| service.scheme),
            Some(scheme),
            "{greeting}"
        );
    }
}
