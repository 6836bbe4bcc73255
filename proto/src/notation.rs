//! How people write complex numbers, sizes, windows and colours: on command lines, in JSON and in URLs.

use crate::{Size, Window};

/// `-0.8+0.156i`, `0.25`, `-i`, `1e-3-2.5e-4i`: real and imaginary part.
///
/// # Errors
/// What is wrong, and how it is written.
pub fn complex(text: &str) -> Result<[f64; 2], String> {
    let wrong = || format!("{text:?} is not a complex number; write it as -0.8+0.156i");
    let number = |part: &str| part.parse::<f64>().map_err(|_| wrong());
    let text = text.trim();
    let Some(body) = text.strip_suffix(['i', 'j']) else { return Ok([number(text)?, 0.0]) };
    // The imaginary part begins at the last sign that is neither the first character nor an exponent's.
    let bytes = body.as_bytes();
    let is_sign = |&at: &usize| matches!(bytes[at], b'+' | b'-') && !matches!(bytes[at - 1], b'e' | b'E');
    let (re, im) = (1..bytes.len()).rev().find(is_sign).map_or(("0", body), |at| body.split_at(at));
    let im = match im {
        "" | "+" => 1.0,
        "-" => -1.0,
        im => number(im)?,
    };
    Ok([number(re)?, im])
}

/// `4000x2000`: width and height in pixels. Zero passes here and is refused with the other limits.
///
/// # Errors
/// What is wrong, and how it is written.
pub fn size(text: &str) -> Result<Size, String> {
    let wrong = || format!("{text:?} is not a size in pixels; write WIDTHxHEIGHT with whole numbers, as 4000x2000");
    let (w, h) = text.split_once(['x', 'X', '×']).ok_or_else(wrong)?;
    let number = |part: &str| part.trim().parse().map_err(|_| wrong());
    Ok(Size { w: number(w)?, h: number(h)? })
}

/// `800x600+100+50`: width and height, then the first column and row.
///
/// # Errors
/// What is wrong, and how it is written.
pub fn window(text: &str) -> Result<Window, String> {
    let wrong = || format!("{text:?} is not a part of the image; write WIDTHxHEIGHT+COLUMN+ROW, as 800x600+100+50");
    let mut parts = text.splitn(3, '+');
    let mut part = || parts.next().ok_or_else(wrong);
    let Size { w, h } = size(part()?).map_err(|_| wrong())?;
    let x = part()?.parse().map_err(|_| wrong())?;
    let y = part()?.parse().map_err(|_| wrong())?;
    Ok(Window { x, y, w, h })
}

/// `#1a2b3c`, `1a2b3c`, or one of a few names: red, green and blue.
///
/// # Errors
/// What is wrong, and how it is written.
pub fn colour(text: &str) -> Result<[u8; 3], String> {
    const NAMES: [(&str, [u8; 3]); 8] = [
        ("black", [0, 0, 0]),
        ("white", [255, 255, 255]),
        ("gray", [128, 128, 128]),
        ("red", [255, 0, 0]),
        ("green", [0, 128, 0]),
        ("blue", [0, 0, 255]),
        ("navy", [0, 0, 128]),
        ("gold", [255, 215, 0]),
    ];
    if let Some((_, rgb)) = NAMES.iter().find(|(name, _)| *name == text) {
        return Ok(*rgb);
    }
    let digits = text.strip_prefix('#').unwrap_or(text);
    let parsed = (digits.len() == 6 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
        .then(|| u32::from_str_radix(digits, 16).ok())
        .flatten();
    let [_, r, g, b] = parsed
        .ok_or_else(|| {
            let names: Vec<_> = NAMES.iter().map(|(name, _)| *name).collect();
            format!("{text:?} is not a colour; write #RRGGBB or one of {}", names.join(", "))
        })?
        .to_be_bytes();
    Ok([r, g, b])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complex_numbers_are_read_as_people_write_them() {
        for (text, re, im) in [
            ("-0.8+0.156i", -0.8, 0.156),
            ("-0.8-0.156i", -0.8, -0.156),
            ("0.25", 0.25, 0.0),
            ("-2", -2.0, 0.0),
            ("i", 0.0, 1.0),
            ("-i", 0.0, -1.0),
            ("1+i", 1.0, 1.0),
            ("1-i", 1.0, -1.0),
            ("0.5j", 0.0, 0.5),
            ("-1e-3i", 0.0, -1e-3),
            ("1e-3-2.5E-4i", 1e-3, -2.5e-4),
            ("+1e+2+1e+1i", 100.0, 10.0),
        ] {
            assert_eq!(complex(text), Ok([re, im]), "{text}");
        }
        for text in ["", "+", "1+2", "1+2i3", "--1i", "x", "1 + 2", "0x1i", "é+i", "ei"] {
            assert!(complex(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_windows_and_colours_are_read_or_explained() {
        assert_eq!(size("7x3"), Ok(Size { w: 7, h: 3 }));
        assert_eq!(window("7x3+1+2"), Ok(Window { x: 1, y: 2, w: 7, h: 3 }));
        assert_eq!(colour("#0aFF10"), Ok([10, 255, 16]));
        assert_eq!(colour("black"), Ok([0, 0, 0]));
        for text in ["", "7", "7x", "-7x3", "7x3x2", "7.5x3", "99999999999x1"] {
            assert!(size(text).is_err(), "{text}");
        }
        assert!(window("7x3").is_err() && window("7x3+1").is_err() && window("7x3+1+2+3").is_err());
        assert!(colour("#12345").is_err() && colour("+12345").is_err() && colour("réd").is_err());
    }
}
