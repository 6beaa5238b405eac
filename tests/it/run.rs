//! The record of a whole run: counts and causes that no reset, restored state or full journal takes away.

use std::time::Duration;

use kpay_sandbox::gateway::call::Credentials;
use kpay_sandbox::gateway::postback::Failure;
use kpay_sandbox::gateway::run::{Cause, Finding, Run};
use serde_json::json;

use crate::core::{Core, acknowledge, answered, good_pay, line_of};

fn recorded(work: impl FnOnce(&mut Core)) -> Box<Run> {
    let mut core = Core::new("documented");
    core.gateway.record_run();
    work(&mut core);
    core.gateway.take_run().expect("it was recorded")
}

fn told(run: &Run) -> Vec<(Finding, u64)> {
    run.causes().iter().map(|cause| (cause.finding, cause.count)).collect()
}

#[test]
fn a_run_goes_on_over_resets_restored_states_and_evicted_entries() {
    let run = recorded(|core| {
        core.pay(|body| body["refid"] = json!(""));
        core.gateway.reset(core.now);
        core.pay(|body| body["refid"] = json!(""));
        core.carry_over();
        core.pay(|_| {});
        core.advance_with(Duration::from_secs(1), |postback| answered(postback, 500, ""));
        core.gateway.reset_merchant(&"your_username".into(), core.now);
        let details = "x".repeat(1000);
        for number in 0..15_000 {
            core.pay(|body| (body["refid"], body["details"]) = (json!(format!("R{number}")), json!(details)));
        }
        assert!(core.gateway.journal().evicted() > 0, "the journal is full");
    });
    assert_eq!((run.requests(), run.postbacks(), run.covered().accepted), (15_003, 1, 15_001));
    assert_eq!(told(&run), [(Finding::Refused, 2), (Finding::Undelivered, 1)]);
}

#[test]
fn equal_causes_are_counted_together_and_named_by_their_first() {
    let run = recorded(|core| {
        for refid in ["A", "B", "C", "D", "D"] {
            core.pay(|body| (body["refid"], body["msisdn"]) = (json!(refid), json!("1")));
        }
        for refid in ["E", "E", "F", "F"] {
            core.pay(|body| body["refid"] = json!(refid));
        }
        core.pay(|body| body["pmethod"] = json!("cash"));
    });
    let [unusable, used, method]: [&Cause; 3] = run.causes().iter().collect::<Vec<_>>().try_into().unwrap();
    assert_eq!((unusable.count, &*unusable.examples), (5, &["pay A", "pay B", "pay C"].map(Into::into)[..]));
    assert!(used.count == 2 && used.text.contains("refid 'E' was used before"), "{used:?}");
    assert_eq!((method.count, method.kept, run.cases().len()), (1, 1, 10));
}

#[test]
fn postbacks_to_different_addresses_have_different_causes() {
    let run = recorded(|core| {
        for (refid, port) in [("A", "35493"), ("B", "35494"), ("C", "35494")] {
            core.pay(|body| {
                (body["refid"], body["returl"]) = (json!(refid), json!(format!("http://127.0.0.2:{port}/")));
            });
        }
        core.advance_with(Duration::from_secs(2), |postback| {
            let origin = postback.target.trim_end_matches('/').to_owned();
            let mut delivery = acknowledge(postback);
            delivery.outcome = Err(Failure::Unreachable(format!("connection refused by {origin}: is it running?")));
            delivery
        });
    });
    let counts: Vec<u64> = run.causes().iter().map(|cause| cause.count).collect();
    assert_eq!(counts, [1, 2]);
}

#[test]
fn a_611_after_a_refused_pay_is_not_a_refusal_of_its_own_and_a_scripted_one_is_nobodys_fault() {
    let run = recorded(|core| {
        core.pay(|body| (body["refid"], body["bankid"]) = (json!("A"), json!(null)));
        core.check_status("", "A");
        core.check_status("A", "");
        core.check_status("", "B");
        core.pay(|body| (body["refid"], body["msisdn"]) = (json!("C"), json!("0780000611")));
        core.check_status("", "C");
        core.pay(|body| (body["refid"], body["msisdn"]) = (json!("D"), json!("0780000603")));
        core.check_status("", "D");
    });
    let count = |finding| run.count(finding);
    assert_eq!((count(Finding::Refused), count(Finding::NeverMade), count(Finding::Scripted)), (2, 3, 2));
}

#[test]
fn unknown_users_and_the_live_host_are_counted() {
    let run = recorded(|core| {
        for (user, password) in [("nobody", "x"), ("your_username", "wrong")] {
            let credentials = Credentials { username: user.into(), password: password.into() };
            core.call_with(|call| call.credentials = Ok(credentials), b"{}");
        }
        for host in ["PAY.esicia.rw", "pay.esicia.rw:443", "pay.esicia.rw.", "pay.esicia.com", "x.pay.esicia.rw"] {
            let head = format!("POST /\nhost: {host}\n");
            core.call_with(|call| call.head = Box::leak(head.into_boxed_str()).as_bytes(), b"{}");
        }
    });
    assert_eq!((run.unknown_users(), run.count(Finding::Refused), run.live()), (1, 7, 3));
}

#[test]
fn a_request_to_a_wrong_path_of_the_live_host_is_refused_and_live() {
    let run = recorded(|core| {
        let peer = [127, 0, 0, 1].into();
        core.gateway.handle_refused_request((peer, "pay.esicia.rw"), "POST /pay", "no such path".into(), core.now);
    });
    assert_eq!((run.count(Finding::Refused), run.live(), run.requests()), (1, 1, 1));
}

#[test]
fn refusals_that_another_profile_would_not_give_are_counted() {
    let run = recorded(|core| {
        for number in 0..7 {
            let mut body = good_pay();
            (body["refid"], body["bankid"]) = (json!(number.to_string()), json!(null));
            core.call_with(|call| call.key = None, body.to_string().as_bytes());
        }
        core.pay(|body| body["pmethod"] = json!("cash"));
        core.pay(|body| body["msisdn"] = json!("0780000603"));
    });
    assert_eq!((run.kindest_profile(), run.count(Finding::Refused)), (Some(("observed", 7)), 8));
}

#[test]
fn the_record_stays_within_its_bounds() {
    let run = recorded(|core| {
        for number in 0..11_000 {
            core.pay(|body| body["pmethod"] = json!(format!("m{number}")));
        }
        core.pay(|_| {});
        core.advance_with(Duration::from_secs(1), acknowledge);
    });
    assert_eq!((run.cases().len(), run.requests(), run.postbacks()), (10_000, 11_001, 1));
    assert!(run.causes().len() <= 1001, "{}", run.causes().len());
    assert_eq!(run.count(Finding::Refused), 11_000);
    let last = run.causes().last().unwrap();
    assert_eq!((&*last.text, last.count), ("other causes", 10_000));
}

#[test]
fn a_checkstatus_by_tid_alone_is_named_by_it() {
    let mut core = Core::new("documented");
    core.gateway.record_run();
    core.check_status("E697TID", "");
    let wrong = Credentials { username: "your_username".into(), password: "wrong".into() };
    core.call_with(|call| call.credentials = Ok(wrong), br#"{"action":"checkstatus","tid":"E698TID"}"#);
    let lines: Vec<String> = core.gateway.journal().after(0).map(line_of).collect();
    for (line, tid) in lines.iter().zip(["E697TID", "E698TID"]) {
        assert!(line.contains(&format!("--> checkstatus {tid} from ")), "{line}");
        assert_eq!(line.matches(tid).count(), 1, "{line}");
    }
    let run = core.gateway.take_run().unwrap();
    let names: Vec<&str> = run.cases().iter().map(|case| &*case.name).collect();
    assert_eq!(names, ["checkstatus E697TID", "checkstatus E698TID"]);
}
