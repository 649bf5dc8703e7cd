//! ISO 4217: which alphabetic currency codes are active.

/// The active codes of ISO 4217 (list one, 2026-01: currencies, funds, metals and test codes), in order.
const ACTIVE: &str = "\
AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BHD BIF BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF CHE \
CHF CHW CLF CLP CNY COP COU CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF \
GTQ GYD HKD HNL HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR \
LRD LSL LYD MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN \
PGK PHP PKR PLN PYG QAR RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS \
TMT TND TOP TRY TTD TWD TZS UAH UGX USD USN UYI UYU UYW UZS VED VES VND VUV WST XAD XAF XAG XAU XBA XBB XBC \
XBD XCD XCG XDR XOF XPD XPF XPT XSU XTS XUA XXX YER ZAR ZMW ZWG";

/// Whether the code is an active one. Codes are upper case; anything else is not a code.
pub fn is_active(code: &str) -> bool {
    is_code_shaped(code) && crate::code_list::contains(ACTIVE, code)
}

/// Whether the text is three upper-case letters.
pub fn is_code_shaped(code: &str) -> bool {
    code.len() == 3 && code.bytes().all(|byte| byte.is_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes() {
        for (code, expect) in [
            ("USD", true),
            ("EUR", true),
            ("AED", true),
            ("ZWG", true),
            ("ZZZ", false),
            ("usd", false),
            ("", false),
            ("US", false),
            ("D A", false),
        ] {
            assert_eq!(is_active(code), expect, "{code}");
        }
    }
}
