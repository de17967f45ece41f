//! Generations of a test CA, put into certd's store as an issuance would: for tests of what comes after, a thousand times
//! if need be. certd trusts the lab's old authority.

use std::fs;
use std::path::PathBuf;

use certd::cert::{CertName, Chain, Generation, KeyType, Pair, PrivateKey};
use certd::context::clock;
use certd::model::Meta;
use certd::store::Store;
use zeroize::Zeroizing;

use super::pki::{self, Leaf};
use super::{Lab, SERVICE};

/// Young enough not to be due.
const DAYS: i64 = 60;

impl Lab {
    /// A new pair is the store's current one; of those before it the latest stays.
    pub fn keep_new(&self) -> Leaf {
        let service = self.services.iter().find(|service| service.name == SERVICE).expect("the lab has it");
        let (cert, key) = self.old_authority.issue(&service.domains, DAYS);
        let leaf = pki::parse(&cert).expect("what was just issued");
        let key = PrivateKey::parse(Zeroizing::new(key)).expect("what was just made");
        let pair = Pair::new(Chain::parse(&cert).expect("what was just issued"), key).expect("they were made together");
        let store = Store::open(&self.state_dir()).expect("the state is whole");
        let name = CertName::parse(SERVICE).expect("it is one");
        let held = store.generations(&name).expect("the state is whole");
        let greatest = held.last().map_or(0, Generation::number);
        let generation =
            Generation::issued(clock::now(), greatest, &pair.chain().leaf.serial).expect("it has a serial");
        let ca = self.proxy.at.ip().to_string();
        let meta = Meta { key_type: KeyType::EcdsaP256, profile: None, ca, issued_at: clock::now() };
        store.keep(&name, &generation, &pair, &meta).expect("it can be kept");
        for old in held.iter().rev().skip(1) {
            fs::remove_dir_all(self.kept().join(old.to_string())).expect("the lab's folder is ours");
        }
        leaf
    }

    /// The store's folder of the certificate.
    pub fn kept(&self) -> PathBuf {
        self.state_dir().join("certs").join(SERVICE)
    }
}
