//! PEM (RFC 7468) as a CA sends it and as servers read it. Reading is strict: one block that is no
//! certificate refuses the whole text.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::Malformed;

/// Characters in a line of base64 (RFC 7468 section 2: "Generators MUST wrap the base64-encoded lines so that each line
/// consists of exactly 64 characters except for the final line").
const LINE: usize = 64;

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

/// The DERs of all blocks, in their order.
///
/// # Errors
/// Anything but `CERTIFICATE` blocks and white space, or broken base64, with its line (RFC 8555 section 9.1: "The file
/// MUST contain only one or more certificates").
pub(super) fn certificates(text: &str) -> Result<Vec<Vec<u8>>, Malformed> {
    let mut ders = Vec::new();
    let mut block: Option<String> = None;
    for (number, line) in text.lines().map(str::trim).enumerate() {
        let bad = |why: &str| Malformed { what: format!("line {} of the chain", number + 1), why: why.to_owned() };
        match (&mut block, line) {
            (None, "") => {}
            (None, BEGIN) => block = Some(String::new()),
            (None, _) => return Err(bad("only CERTIFICATE blocks and empty lines may stand in a chain")),
            (Some(body), END) => {
                ders.push(STANDARD.decode(body.as_bytes()).map_err(|_| bad("the block that ends here is not base64"))?);
                block = None;
            }
            (Some(body), _) => body.push_str(line),
        }
    }
    if block.is_some() {
        return Err(Malformed { what: "the chain".to_owned(), why: "it ends within a CERTIFICATE block".to_owned() });
    }
    Ok(ders)
}

/// One block, lines ended by LF.
pub(super) fn block(der: &[u8]) -> String {
    let body = STANDARD.encode(der);
    let mut text = format!("{BEGIN}\n");
    for line in body.as_bytes().chunks(LINE) {
        text.extend(line.iter().map(|&byte| char::from(byte)));
        text.push('\n');
    }
    text.push_str(END);
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let ders = vec![vec![7; 100], vec![8; 48]];
        let text: String = ders.iter().map(|der| block(der)).collect();
        assert!(text.lines().all(|line| line.len() <= LINE), "{text}");
        assert_eq!(certificates(&text).unwrap(), ders);
        assert_eq!(certificates(&text.replace('\n', "\r\n")).unwrap(), ders);
    }

    #[test]
    fn only_certificates_may_stand_in_a_chain() {
        let good = block(&[1, 2, 3]);
        for (text, line) in [
            (format!("subject=/CN=x\n{good}"), "line 1 of"),
            (format!("{good}-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"), "line 4 of"),
            (good.replace("AQID", "AQ!D"), "line 3 of"),
            (good.replace("-----END CERTIFICATE-----\n", ""), "the chain"),
        ] {
            let error = certificates(&text).unwrap_err();
            assert!(error.what.starts_with(line), "{error}");
        }
    }
}
