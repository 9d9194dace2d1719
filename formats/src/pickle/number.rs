//! Integers of any size: two's complement as pickles hold it, and decimal text.

/// A little-endian two's complement integer that fits 64 bits; no bytes are 0.
pub(super) fn small(bytes: &[u8]) -> Option<i64> {
    if bytes.len() > 8 {
        return None;
    }
    let fill = if bytes.last().is_some_and(|byte| byte & 0x80 != 0) { 0xff } else { 0 };
    let mut whole = [fill; 8];
    whole[..bytes.len()].copy_from_slice(bytes);
    Some(i64::from_le_bytes(whole))
}

/// A little-endian two's complement integer as decimal text.
pub(super) fn decimal(bytes: &[u8]) -> String {
    let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
    let mut limbs: Vec<u32> = bytes
        .chunks(4)
        .map(|chunk| {
            let mut limb = [if negative { 0xff } else { 0 }; 4];
            limb[..chunk.len()].copy_from_slice(chunk);
            u32::from_le_bytes(limb)
        })
        .collect();
    if negative {
        let mut carry = true;
        for limb in &mut limbs {
            (*limb, carry) = (!*limb).overflowing_add(carry.into());
        }
    }
    let mut groups = Vec::new();
    while limbs.iter().any(|&limb| limb != 0) {
        groups.push(divide(&mut limbs));
    }
    let mut text = String::from(if negative { "-" } else { "" });
    text += &groups.pop().unwrap_or(0).to_string();
    for group in groups.iter().rev() {
        text += &format!("{group:09}");
    }
    text
}

/// Divides by 10⁹ in place and gives the remainder.
fn divide(limbs: &mut [u32]) -> u64 {
    let mut rest = 0;
    for limb in limbs.iter_mut().rev() {
        let value = rest << 32 | u64::from(*limb);
        // The quotient is below 2³² because the remainder is below the divisor.
        *limb = (value / 1_000_000_000) as u32;
        rest = value % 1_000_000_000;
    }
    rest
}

/// Whether a text is digits with at most one sign before them.
pub(super) fn is_decimal(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimal_agrees_with_the_machine() {
        for value in [0, 1, -1, 255, -256, i64::MAX, i64::MIN, 1_000_000_000, -999_999_999_999_999_999] {
            assert_eq!(decimal(&value.to_le_bytes()), value.to_string());
            assert_eq!(small(&value.to_le_bytes()), Some(value));
        }
        assert_eq!(decimal(&[]), "0");
        assert_eq!(decimal(&[0, 0, 0, 0, 0, 0, 0, 0, 1]), "18446744073709551616");
        assert_eq!(decimal(&i128::MIN.to_le_bytes()), i128::MIN.to_string());
        assert_eq!(small(&[0xff]), Some(-1));
    }
}
