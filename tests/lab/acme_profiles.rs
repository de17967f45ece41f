//! Profiles: ordered where the CA offers them, refused in words before any order where it does not.

use crate::lab;

use certd::model::Advice;
use lab::bench::Bench;
use lab::script::Answer;

#[test]
fn a_profile_is_ordered_and_an_unknown_one_is_refused_in_words_before_any_order() {
    let mut bench = Bench::start();
    bench.task.profile = Some("shortlived".to_owned());
    let leaf = bench.issue().unwrap().leaf;
    assert!(leaf.not_after.duration_since(leaf.not_before).as_hours() < 24 * 7);
    bench.task.profile = Some("eternal".to_owned());
    let failure = bench.issue().unwrap_err();
    assert_eq!((failure.code.as_str(), failure.advice), ("acme-profile", Advice::Person), "{failure:?}");
    assert!(failure.next.contains("(default, shortlived)"), "{failure:?}");
    assert_eq!(bench.count("new-order"), 1);
}

#[test]
fn a29_a_ca_without_profiles_and_renewal_information_issues_all_the_same() {
    let mut bench = Bench::start();
    bench.lab.proxy.script.rewrite("directory", 1, |body| {
        let mut directory: serde_json::Value = serde_json::from_str(&body).unwrap();
        directory["meta"].as_object_mut().unwrap().remove("profiles");
        directory.as_object_mut().unwrap().remove("renewalInfo");
        directory.to_string()
    });
    bench.task.profile = Some("tlsserver".to_owned());
    // What it would replace cannot be named to such a CA.
    bench.task.replaces = Some("aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE".to_owned());
    let issued = bench.issue().unwrap();
    assert!(bench.steps().contains("the CA offers no profiles: the order is made without"), "{}", bench.steps());
    let kept = bench.context.store.stored(bench.name()).unwrap().current.unwrap();
    assert_eq!(
        kept.meta.profile.as_deref(),
        Some("tlsserver"),
        "as it was asked for: else it would be renewed for ever"
    );
    let asked = bench.run(certd::observe::ari::ask_ari(&bench.context, &bench.task.ca, &issued.leaf));
    assert_eq!(asked.unwrap_err().code.as_str(), "acme-unsupported");
}

#[test]
fn a_profile_that_the_ca_refuses_in_spite_of_its_directory_is_told_in_words() {
    let mut bench = Bench::start();
    bench.task.profile = Some("shortlived".to_owned());
    let body = r#"{"type":"urn:ietf:params:acme:error:invalidProfile","detail":"not for you"}"#;
    bench.lab.proxy.script.fail("new-order", 1, &Answer::new(400, body));
    assert_eq!(bench.issue().unwrap_err().code.as_str(), "acme-profile");
}
