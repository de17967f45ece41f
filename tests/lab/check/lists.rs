//! Revocation lists, from a CA that has some: what it has revoked is reported by the next check, and renewed.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use certd::cert::{CertName, Chain, Generation, KeyType, Pair, PrivateKey};
use certd::model::Meta;
use certd::store::Store;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CrlDistributionPoint, DistinguishedName,
    DnType, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevocationReason, RevokedCertParams, SerialNumber,
    date_time_ymd,
};

use super::lab::http::Engine;
use super::*;

const SERIAL: u64 = 0x5eed_1234;

/// A CA with a list, over plain HTTP as public ones have it.
struct ListCa {
    params: CertificateParams,
    key: KeyPair,
    list: Arc<Mutex<(u16, Vec<u8>)>>,
    _engine: Engine,
}

/// Answered with `status`, the list holds these serials.
impl ListCa {
    fn says(&self, status: u16, serials: &[u64]) {
        let since = std::time::SystemTime::UNIX_EPOCH.elapsed().expect("past 1970").as_secs();
        let at = |seconds: u64| date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds);
        let revoked = |serial: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: at(since - 7200),
            reason_code: Some(RevocationReason::KeyCompromise),
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: at(since - 3600),
            next_update: at(since + 86_400),
            crl_number: SerialNumber::from(1u64),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = params.signed_by(&Issuer::from_params(&self.params, &self.key)).unwrap().der().to_vec();
        *self.list.lock().unwrap() = (status, list);
    }
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

/// A lab whose store holds a certificate of such a CA, as if it had been issued there, and whose node serves it.
fn served_from_a_ca_with_lists() -> (Lab, ListCa) {
    let lab = Lab::start(Options::nodes(1));
    lab.write_config("");
    let (root, root_key) = (authority("list CA: root"), KeyPair::generate().unwrap());
    let root_pem = root.self_signed(&root_key).unwrap().pem();
    let (params, key) = (authority("list CA: issuer"), KeyPair::generate().unwrap());
    let issuer = params.signed_by(&key, &Issuer::from_params(&root, &root_key)).unwrap().der().to_vec();
    let engine = Engine::start();
    let list = Arc::new(Mutex::new((200, Vec::new())));
    let held = Arc::clone(&list);
    let answer = move || {
        let (status, list) = held.lock().unwrap().clone();
        async move { (StatusCode::from_u16(status).unwrap(), list) }
    };
    let at = engine.serve([127, 0, 0, 1].into(), Router::new().route("/5.crl", get(answer)));
    let ca = ListCa { params, key, list, _engine: engine };

    let mut leaf = CertificateParams::new(vec![SERVICE.to_owned()]).unwrap();
    leaf.distinguished_name = DistinguishedName::new();
    leaf.serial_number = Some(SerialNumber::from(SERIAL));
    leaf.use_authority_key_identifier_extension = true;
    leaf.crl_distribution_points = vec![CrlDistributionPoint { uris: vec![format!("http://{at}/5.crl")] }];
    let private = PrivateKey::generate(KeyType::EcdsaP256).unwrap();
    let valid = lab.old_authority.issue(&[SERVICE.into()], 80).0;
    let not_after = lab::pki::parse(&valid).unwrap().not_after;
    leaf.not_before = date_time_ymd(1970, 1, 1) + Duration::from_secs(not_after as u64 - 90 * 86_400);
    leaf.not_after = date_time_ymd(1970, 1, 1) + Duration::from_secs(not_after as u64);
    let signed = leaf.signed_by(&KeyPair::from_pem(private.pem()).unwrap(), &Issuer::from_params(&ca.params, &ca.key));
    let chain = Chain::from_ders(vec![signed.unwrap().der().to_vec(), issuer]).unwrap();

    let roots = lab.folder.join("issuer-roots.pem");
    fs::write(&roots, fs::read_to_string(&roots).unwrap() + &root_pem).unwrap();
    let store = Store::open(&lab.state_dir()).unwrap();
    let issued_at = chain.leaf.not_before;
    let generation = Generation::issued(issued_at, 0, &chain.leaf.serial).unwrap();
    let meta = Meta { key_type: KeyType::EcdsaP256, profile: None, ca: "unknown".into(), issued_at };
    let pair = Pair::new(chain, private).unwrap();
    store.keep(&CertName::parse(SERVICE).unwrap(), &generation, &pair, &meta).unwrap();
    exits(&lab.certd(&["deploy"]), 0);
    (lab, ca)
}

#[test]
fn what_its_ca_has_revoked_is_told_by_a_deep_check_renewed_by_the_next_pass_and_known_from_then_on() {
    let (lab, ca) = served_from_a_ca_with_lists();
    ca.says(200, &[7]);
    let output = lab.certd(&["check", "--deep", "--output", "json"]);
    exits(&output, 0);
    let report = json(&output);
    assert_eq!(report["certificates"][0]["current"]["crl"]["revoked"], Value::Null, "{report}");
    assert!(report["certificates"][0]["current"]["crl"]["next_update"].is_string(), "{report}");

    ca.says(200, &[7, SERIAL]);
    let output = lab.certd(&["check", "--deep"]);
    exits(&output, 4);
    let text = stdout(&output);
    assert!(text.contains("  revoked\n") && text.contains("node-1: its CA has revoked it on"), "{text}");
    exits(&lab.certd(&["check"]), 0);
    let before = lab.nodes[0].settled(SERVICE).unwrap();
    exits(&lab.certd(&["renew"]), 0);
    assert_ne!(lab.nodes[0].settled(SERVICE).unwrap(), before);
    assert_eq!(lab.pebble.issued(), 1);

    // A node that goes back to it serves what visitors refuse, whatever the list says by now.
    ca.says(500, &[]);
    let output = lab.certd(&["renew"]);
    exits(&output, 0);
}

#[test]
fn a_list_that_cannot_be_had_or_believed_is_a_note_and_no_alarm() {
    let (lab, ca) = served_from_a_ca_with_lists();
    ca.says(500, &[SERIAL]);
    let output = lab.certd(&["check", "--deep"]);
    exits(&output, 0);
    assert!(stdout(&output).contains("cannot tell whether it is revoked"), "{}", stdout(&output));
    *ca.list.lock().unwrap() = (200, vec![0x30; 9 * 1024 * 1024]);
    let output = lab.certd(&["check", "--deep"]);
    exits(&output, 0);
    assert!(stdout(&output).contains("longer than 8388608 bytes"), "{}", stdout(&output));
    exits(&lab.certd(&["renew"]), 0);
    assert_eq!(lab.pebble.issued(), 0);
    // A pass notes what it heard; the next one asks again hours later, and a look tells it from memory.
    let output = lab.certd(&["check", "--output", "json"]);
    exits(&output, 0);
    assert_eq!(json(&output)["certificates"][0]["current"]["crl"]["failure"]["code"], "crl");
}
