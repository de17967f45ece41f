//! Certificate authorities for tests: real keys, real signatures, dates around [`NOW`].

use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CrlDistributionPoint,
    CrlIssuingDistributionPoint, CrlScope, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyIdMethod, KeyPair, KeyUsagePurpose, RevocationReason, RevokedCertParams, SerialNumber,
};

use super::{Chain, KeyType, Pair, PrivateKey, Roots, pem};

/// 2026-11-23T00:00:00Z.
pub(crate) const NOW: Timestamp = Timestamp::constant(1_795_392_000, 0);

type Validity = (Timestamp, Timestamp);

/// From so many days after [`NOW`] to so many.
pub(crate) fn days(from: i64, to: i64) -> Validity {
    (NOW + SignedDuration::from_hours(24 * from), NOW + SignedDuration::from_hours(24 * to))
}

pub(crate) struct Authority {
    params: CertificateParams,
    key: KeyPair,
    der: Vec<u8>,
    /// What its chains hold above the leaf; a root has nothing to add.
    above: Vec<Vec<u8>>,
}

impl Authority {
    pub(crate) fn root(name: &str) -> Self {
        Self::self_signed(authority(name, days(-1000, 3000)))
    }

    pub(crate) fn self_signed_within(name: &str, validity: Validity) -> Self {
        Self::self_signed(authority(name, validity))
    }

    pub(crate) fn root_with_identifier(name: &str, identifier: &[u8]) -> Self {
        let mut params = authority(name, days(-1000, 3000));
        params.key_identifier_method = KeyIdMethod::PreSpecified(identifier.to_vec());
        Self::self_signed(params)
    }

    pub(crate) fn self_signed(params: CertificateParams) -> Self {
        let key = KeyPair::generate().unwrap();
        let der = params.self_signed(&key).unwrap().der().to_vec();
        Self { params, key, der, above: Vec::new() }
    }

    pub(crate) fn intermediate(&self, name: &str) -> Self {
        self.intermediate_valid(name, days(-500, 1500))
    }

    pub(crate) fn intermediate_valid(&self, name: &str, validity: Validity) -> Self {
        let params = authority(name, validity);
        let key = KeyPair::generate().unwrap();
        let issuer = Issuer::from_params(&self.params, &self.key);
        let der = params.signed_by(&key, &issuer).unwrap().der().to_vec();
        let above = [vec![der.clone()], self.above.clone()].concat();
        Self { params, key, der, above }
    }

    /// A certificate (DER) by this authority for another's name and key.
    pub(crate) fn cross_sign(&self, other: &Self, validity: Validity) -> Vec<u8> {
        let mut params = other.params.clone();
        (params.not_before, params.not_after) = {
            let dates = valid(CertificateParams::default(), validity);
            (dates.not_before, dates.not_after)
        };
        let issuer = Issuer::from_params(&self.params, &self.key);
        params.signed_by(&other.key, &issuer).unwrap().der().to_vec()
    }

    pub(crate) fn pem(&self) -> String {
        pem::block(&self.der)
    }

    pub(crate) fn der(&self) -> &[u8] {
        &self.der
    }

    pub(crate) fn roots(&self) -> Roots {
        Roots::new(&[self.pem()]).unwrap()
    }

    /// A pair whose chain holds the leaf and every intermediate.
    pub(crate) fn issue(&self, names: &[&str], validity: Validity) -> Pair {
        let key = PrivateKey::generate(KeyType::EcdsaP256).unwrap();
        self.issue_for(&key, leaf(names, validity))
    }

    pub(crate) fn issue_with_serial(&self, names: &[&str], validity: Validity, serial: &[u8]) -> Pair {
        let key = PrivateKey::generate(KeyType::EcdsaP256).unwrap();
        let mut params = leaf(names, validity);
        params.serial_number = Some(SerialNumber::from_slice(serial));
        self.issue_for(&key, params)
    }

    /// A leaf that names the list which says whether it is revoked.
    pub(crate) fn issue_with_crl(&self, names: &[&str], validity: Validity, url: &str) -> Pair {
        let key = PrivateKey::generate(KeyType::EcdsaP256).unwrap();
        let mut params = leaf(names, validity);
        params.crl_distribution_points = vec![CrlDistributionPoint { uris: vec![url.to_owned()] }];
        self.issue_for(&key, params)
    }

    /// A list (DER) with these serials, each revoked at its beginning for key compromise. `part`: the URL that it says it
    /// is found at.
    pub(crate) fn crl(&self, serials: &[&[u8]], (from, to): Validity, part: Option<&str>) -> Vec<u8> {
        let dates = valid(CertificateParams::default(), (from, to));
        let revoked = |serial: &&[u8]| RevokedCertParams {
            serial_number: SerialNumber::from_slice(serial),
            revocation_time: dates.not_before,
            reason_code: Some(RevocationReason::KeyCompromise),
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: dates.not_before,
            next_update: dates.not_after,
            crl_number: SerialNumber::from(7u64),
            issuing_distribution_point: part.map(|url| CrlIssuingDistributionPoint {
                distribution_point: CrlDistributionPoint { uris: vec![url.to_owned()] },
                scope: Some(CrlScope::UserCertsOnly),
            }),
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&Issuer::from_params(&self.params, &self.key)).unwrap().der().to_vec()
    }

    pub(crate) fn issue_for(&self, key: &PrivateKey, params: CertificateParams) -> Pair {
        let issuer = Issuer::from_params(&self.params, &self.key);
        let signed = params.signed_by(&KeyPair::from_pem(key.pem()).unwrap(), &issuer).unwrap();
        let ders = [vec![signed.der().to_vec()], self.above.clone()].concat();
        Pair::new(Chain::from_ders(ders).unwrap(), key.clone()).unwrap()
    }
}

pub(crate) fn leaf(names: &[&str], validity: Validity) -> CertificateParams {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    valid(params, validity)
}

fn authority(name: &str, validity: Validity) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    valid(params, validity)
}

fn valid(mut params: CertificateParams, (from, to): Validity) -> CertificateParams {
    let second = |at: Timestamp| core::time::Duration::from_secs(u64::try_from(at.as_second()).unwrap());
    params.not_before = rcgen::date_time_ymd(1970, 1, 1) + second(from);
    params.not_after = rcgen::date_time_ymd(1970, 1, 1) + second(to);
    params
}
