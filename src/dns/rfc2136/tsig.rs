//! A shared key: signs messages and verifies answers (RFC 8945). The DNS library provides the record and the bytes to sign;
//! the HMAC is aws-lc's, like all cryptography here.

use aws_lc_rs::hmac;
use hickory_proto::ProtoError;
use hickory_proto::op::{Header, Message, Query};
use hickory_proto::rr::rdata::TSIG;
use hickory_proto::rr::rdata::tsig::{self, TsigError, make_tsig_record, message_tbs};
use hickory_proto::rr::{DNSClass, Name, RData, Record};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder, BinEncoder, DecodeError};
use jiff::Timestamp;
use zeroize::Zeroizing;

use crate::config::TsigAlgorithm;

/// Seconds for which a signature holds, either way. RFC 8945 section 10: "RECOMMENDED value for ... fudge is 300 seconds".
const FUDGE: u16 = 300;
/// Octets of a message's header, and the offset of its last count (RFC 1035 section 4.1.1).
const HEADER: usize = 12;
const LAST_COUNT: usize = 10;

/// No `Debug`: it holds the secret.
pub(super) struct Key {
    pub(super) name: Name,
    pub(super) algorithm: TsigAlgorithm,
    pub(super) secret: Zeroizing<Vec<u8>>,
}

/// Why an answer is not proven.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fault {
    UnknownKey,
    WrongSecret,
    /// The server's clock less ours.
    Clock {
        seconds: i64,
    },
    Unproven(&'static str),
}

impl Key {
    pub(super) fn name(&self) -> String {
        self.name.to_ascii().trim_end_matches('.').to_owned()
    }

    pub(super) fn algorithm(&self) -> TsigAlgorithm {
        self.algorithm
    }

    /// Signs the message in its present form. Returns the MAC, which the answer's signature covers, too.
    pub(super) fn sign(&self, message: &mut Message, now: Timestamp) -> Result<Vec<u8>, ProtoError> {
        let id = message.metadata.id;
        let unsigned = TSIG::new(self.wire_algorithm(), seconds(now), FUDGE, Vec::new(), id, None, Vec::new());
        let bytes = message_tbs(message, &unsigned, &self.name)?;
        let mac = hmac::sign(&self.hmac(), &bytes).as_ref().to_vec();
        message.signature = Some(Box::new(make_tsig_record(self.name.clone(), unsigned.set_mac(mac.clone()))));
        Ok(mac)
    }

    /// RFC 8945 section 5.3: the answer's signature covers the request's MAC, which proves that it answers this request.
    pub(super) fn verify(&self, answer: &[u8], request_mac: &[u8], now: Timestamp) -> Result<(), Fault> {
        let (start, record) = last_record(answer).map_err(|_| Fault::Unproven("it cannot be read"))?;
        let RData::TSIG(tsig) = &record.data else { return Err(Fault::Unproven("it has no signature")) };
        match tsig.error {
            // Section 5.3.2: such an answer is unsigned.
            Some(TsigError::BadKey) => return Err(Fault::UnknownKey),
            Some(TsigError::BadSig | TsigError::BadTrunc) => return Err(Fault::WrongSecret),
            Some(TsigError::BadTime) => return Err(Fault::Clock { seconds: ahead(tsig) }),
            Some(_) => return Err(Fault::Unproven("it has an unknown error of the signature")),
            None => {}
        }
        // Section 4.2: "CLASS: This MUST be ANY. TTL: This MUST be 0." The signature covers these values and not those received.
        if record.dns_class != DNSClass::ANY || record.ttl != 0 {
            return Err(Fault::Unproven("its signature is malformed"));
        }
        let algorithm = tsig.algorithm.to_name().to_ascii();
        if record.name != self.name || TsigAlgorithm::parse(&algorithm) != Some(self.algorithm) {
            return Err(Fault::Unproven("another key has signed it"));
        }
        let bytes = signed(answer, start, request_mac, tsig, &self.name)
            .ok_or(Fault::Unproven("its signature cannot be read"))?;
        hmac::verify(&self.hmac(), &bytes, &tsig.mac).map_err(|_| Fault::Unproven("the signature is wrong"))?;
        let apart = i64::try_from(tsig.time).unwrap_or(i64::MAX).saturating_sub(now.as_second());
        if apart.unsigned_abs() > u64::from(tsig.fudge.min(FUDGE)) {
            return Err(Fault::Clock { seconds: apart });
        }
        Ok(())
    }

    fn hmac(&self) -> hmac::Key {
        let algorithm = match self.algorithm {
            TsigAlgorithm::HmacSha256 => hmac::HMAC_SHA256,
            TsigAlgorithm::HmacSha384 => hmac::HMAC_SHA384,
            TsigAlgorithm::HmacSha512 => hmac::HMAC_SHA512,
        };
        hmac::Key::new(algorithm, &self.secret)
    }

    fn wire_algorithm(&self) -> tsig::TsigAlgorithm {
        match self.algorithm {
            TsigAlgorithm::HmacSha256 => tsig::TsigAlgorithm::HmacSha256,
            TsigAlgorithm::HmacSha384 => tsig::TsigAlgorithm::HmacSha384,
            TsigAlgorithm::HmacSha512 => tsig::TsigAlgorithm::HmacSha512,
        }
    }
}

/// Section 4.2: seconds since 1970, in 48 bits.
fn seconds(now: Timestamp) -> u64 {
    u64::try_from(now.as_second()).unwrap_or(0) & 0xffff_ffff_ffff
}

/// Section 5.2.3: of BADTIME, "Time Signed" is the request's, and "Other Data" the server's time.
fn ahead(tsig: &TSIG) -> i64 {
    let other: Option<[u8; 6]> = tsig.other.as_slice().try_into().ok();
    let server = other.map_or(tsig.time, |bytes| bytes.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)));
    i64::try_from(server).unwrap_or(i64::MAX).saturating_sub(i64::try_from(tsig.time).unwrap_or(i64::MAX))
}

/// The offset of a message's last record, and the record, which must end with the message (section 5.1: the TSIG is "the
/// last record in the additional section").
fn last_record(message: &[u8]) -> Result<(usize, Record), DecodeError> {
    let mut decoder = BinDecoder::new(message);
    let counts = Header::read(&mut decoder)?.counts;
    for _ in 0..counts.queries {
        Query::read(&mut decoder)?;
    }
    let before = u32::from(counts.answers) + u32::from(counts.authorities) + u32::from(counts.additionals);
    for _ in 1..before {
        Record::<RData>::read(&mut decoder)?;
    }
    let start = decoder.index();
    let record = Record::read(&mut decoder)?;
    if counts.additionals == 0 || !decoder.is_empty() {
        return Err(DecodeError::InsufficientBytes);
    }
    Ok((start, record))
}

/// Section 4.3: the request's MAC with its length, the message without its TSIG and with its first id, the TSIG's own
/// fields.
fn signed(answer: &[u8], start: usize, request_mac: &[u8], tsig: &TSIG, key: &Name) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(answer.len() + 128);
    bytes.extend(u16::try_from(request_mac.len()).ok()?.to_be_bytes());
    bytes.extend(request_mac);
    bytes.extend(tsig.oid.to_be_bytes());
    let count = u16::from_be_bytes(answer.get(LAST_COUNT..HEADER)?.try_into().ok()?);
    bytes.extend(answer.get(2..LAST_COUNT)?);
    bytes.extend(count.checked_sub(1)?.to_be_bytes());
    bytes.extend(answer.get(HEADER..start)?);
    let mut fields = Vec::new();
    tsig.emit_tsig_for_mac(&mut BinEncoder::new(&mut fields), key).ok()?;
    bytes.extend(fields);
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use hickory_proto::op::{MessageType, OpCode};
    use hickory_proto::rr::RecordType;

    use super::*;

    const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0);

    fn key(secret: &[u8]) -> Key {
        let name = Name::from_ascii("certd-key.").unwrap();
        Key { name, algorithm: TsigAlgorithm::HmacSha256, secret: Zeroizing::new(secret.to_vec()) }
    }

    /// An answer signed as a server does (section 5.3): over the request's MAC and the same fields.
    fn answer(key: &Key, request_mac: &[u8], error: Option<TsigError>, other: Vec<u8>, at: Timestamp) -> Vec<u8> {
        let mut message = Message::new(7, MessageType::Response, OpCode::Update);
        message.add_query(Query::query(Name::from_ascii("Example.test.").unwrap(), RecordType::SOA));
        let stub = TSIG::new(key.wire_algorithm(), seconds(at), FUDGE, Vec::new(), 7, error, other);
        let mut bytes = u16::try_from(request_mac.len()).unwrap().to_be_bytes().to_vec();
        bytes.extend(request_mac);
        bytes.extend(message_tbs(&message, &stub, &key.name).unwrap());
        let mac = hmac::sign(&key.hmac(), &bytes).as_ref().to_vec();
        message.signature = Some(Box::new(make_tsig_record(key.name.clone(), stub.set_mac(mac))));
        message.to_vec().unwrap()
    }

    #[test]
    fn an_answer_that_is_signed_over_our_request_is_proven() {
        let key = key(b"secret");
        assert_eq!(key.verify(&answer(&key, b"mac", None, Vec::new(), NOW), b"mac", NOW), Ok(()));
    }

    #[test]
    fn a_changed_answer_or_one_of_another_key_or_to_another_request_is_not_proven() {
        let ours = key(b"secret");
        let wrong = Err(Fault::Unproven("the signature is wrong"));
        assert_eq!(ours.verify(&answer(&key(b"guessed"), b"mac", None, Vec::new(), NOW), b"mac", NOW), wrong);
        assert_eq!(ours.verify(&answer(&ours, b"other", None, Vec::new(), NOW), b"mac", NOW), wrong);
        let mut changed = answer(&ours, b"mac", None, Vec::new(), NOW);
        changed[3] ^= 5; // the response code
        assert_eq!(ours.verify(&changed, b"mac", NOW), wrong);
        let bare = Message::new(7, MessageType::Response, OpCode::Update).to_vec().unwrap();
        assert_eq!(ours.verify(&bare, b"mac", NOW), Err(Fault::Unproven("it cannot be read")));
    }

    #[test]
    fn every_answer_that_is_cut_short_or_flipped_by_a_bit_is_refused_without_a_panic() {
        let key = key(b"secret");
        let whole = answer(&key, b"mac", None, Vec::new(), NOW);
        for length in 0..whole.len() {
            assert!(key.verify(&whole[..length], b"mac", NOW).is_err(), "{length}");
        }
        // The answer's own id is not signed; the request's is (section 5.3: "Original ID").
        for at in 2..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= 0x01;
            let refused = key.verify(&flipped, b"mac", NOW).is_err();
            assert!(refused, "octet {at} of {}", whole.len());
        }
    }

    #[test]
    fn clocks_that_differ_are_distinguished_from_wrong_keys() {
        let key = key(b"secret");
        let late = answer(&key, b"mac", None, Vec::new(), NOW + jiff::SignedDuration::from_secs(301));
        assert_eq!(key.verify(&late, b"mac", NOW), Err(Fault::Clock { seconds: 301 }));
        let server = (seconds(NOW) - 7200).to_be_bytes()[2..].to_vec();
        let bad_time = answer(&key, b"mac", Some(TsigError::BadTime), server, NOW);
        assert_eq!(key.verify(&bad_time, b"mac", NOW), Err(Fault::Clock { seconds: -7200 }));
    }
}
