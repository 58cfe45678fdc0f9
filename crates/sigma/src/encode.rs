//! What modifiers make of a written text before it is looked for: `expand`, `windash`, `wide`, `base64`, `base64offset`.

use crate::detection::Placeholders;
use crate::limits;
use crate::modifier::Encoding;
use crate::pattern::Part;

/// Replaces each `%name%` by each of its values, in every combination. `\%` is a percent sign.
pub(crate) fn expand(written: &str, placeholders: &Placeholders) -> Result<Vec<String>, String> {
    let mut texts = vec![String::new()];
    let mut rest = written;
    while let Some(at) = rest.find('%') {
        let (before, from) = rest.split_at(at);
        if let Some(before) = before.strip_suffix('\\') {
            append(&mut texts, &[format!("{before}%")])?;
            rest = &from[1..];
            continue;
        }
        append(&mut texts, &[before.to_owned()])?;
        let Some(end) = from[1..].find('%').filter(|end| *end > 0) else {
            append(&mut texts, &["%".to_owned()])?;
            rest = &from[1..];
            continue;
        };
        let name = &from[1..=end];
        let values = placeholders.get(name).filter(|values| !values.is_empty());
        append(&mut texts, values.ok_or_else(|| format!("placeholder `%{name}%` has no values; give it some"))?)?;
        rest = &from[end + 2..];
    }
    append(&mut texts, &[rest.to_owned()])?;
    Ok(texts)
}

fn append(texts: &mut Vec<String>, values: &[String]) -> Result<(), String> {
    bounded(texts.len().saturating_mul(values.len()))?;
    *texts = texts.iter().flat_map(|text| values.iter().map(move |value| format!("{text}{value}"))).collect();
    if texts.iter().any(|text| text.len() > limits::PATTERN_BYTES_MAX) {
        return Err(format!(
            "a value of more than {} bytes once its placeholders are filled",
            limits::PATTERN_BYTES_MAX
        ));
    }
    Ok(())
}

fn bounded(patterns: usize) -> Result<(), String> {
    if patterns > limits::EXPANSIONS_MAX {
        return Err(format!("one value that becomes more than {} patterns", limits::EXPANSIONS_MAX));
    }
    Ok(())
}

/// The characters that Windows takes for the dash of an option.
const DASHES: [char; 5] = ['-', '/', '\u{2013}', '\u{2014}', '\u{2015}'];

/// Every way to write the dashes of options: a `-` or `/` before a word and not within one.
pub(crate) fn windash(patterns: &[Vec<Part>]) -> Result<Vec<Vec<Part>>, String> {
    let mut all = Vec::new();
    for parts in patterns {
        let mut ways: Vec<Vec<Part>> = vec![Vec::new()];
        for part in parts {
            let texts = match part {
                Part::Literal(text) => dashed(text)?.into_iter().map(Part::Literal).collect(),
                Part::One | Part::Any => vec![part.clone()],
            };
            bounded(ways.len().saturating_mul(texts.len()))?;
            let with = |way: &Vec<Part>, text: &Part| way.iter().chain([text]).cloned().collect();
            ways = ways.iter().flat_map(|way| texts.iter().map(move |text| with(way, text))).collect();
        }
        bounded(all.len() + ways.len())?;
        all.append(&mut ways);
    }
    Ok(all)
}

fn dashed(text: &str) -> Result<Vec<String>, String> {
    let word = |c: Option<&char>| c.is_some_and(|c| c.is_alphanumeric() || *c == '_');
    let chars: Vec<char> = text.chars().collect();
    let mut ways = vec![String::with_capacity(text.len())];
    for (i, &c) in chars.iter().enumerate() {
        let option =
            matches!(c, '-' | '/') && !word(i.checked_sub(1).and_then(|i| chars.get(i))) && word(chars.get(i + 1));
        let options: &[char] = if option { &DASHES } else { &[c] };
        bounded(ways.len().saturating_mul(options.len()))?;
        if let [only] = options {
            ways.iter_mut().for_each(|way| way.push(*only));
        } else {
            ways = ways.iter().flat_map(|way| options.iter().map(move |dash| format!("{way}{dash}"))).collect();
        }
    }
    Ok(ways)
}

/// A literal or a wildcard on its way through the encodings.
enum Encoded {
    Bytes(Vec<u8>),
    Wildcard(Part),
}

/// Runs patterns through encodings. What comes out must be text again.
pub(crate) fn encoded(patterns: Vec<Vec<Part>>, encodings: &[Encoding]) -> Result<Vec<Vec<Part>>, String> {
    if encodings.is_empty() {
        return Ok(patterns);
    }
    let mut all = Vec::new();
    for parts in patterns {
        all.append(&mut encode(parts, encodings)?);
        bounded(all.len())?;
    }
    Ok(all)
}

fn encode(parts: Vec<Part>, encodings: &[Encoding]) -> Result<Vec<Vec<Part>>, String> {
    let mut parts: Vec<Encoded> = parts
        .into_iter()
        .map(|part| match part {
            Part::Literal(text) => Encoded::Bytes(text.into_bytes()),
            Part::One | Part::Any => Encoded::Wildcard(part),
        })
        .collect();
    for encoding in encodings {
        match encoding {
            Encoding::Utf16Le => widen(&mut parts, &[], u16::to_le_bytes),
            Encoding::Utf16Be => widen(&mut parts, &[], u16::to_be_bytes),
            Encoding::Utf16 => widen(&mut parts, &[0xff, 0xfe], u16::to_le_bytes),
            Encoding::Base64 => return Ok(vec![vec![Part::Literal(base64(&plain(&parts)?))]]),
            Encoding::Base64Offset => return base64_offsets(&plain(&parts)?),
        }
    }
    let texts = parts.into_iter().map(|part| match part {
        Encoded::Wildcard(part) => Ok(part),
        Encoded::Bytes(bytes) => String::from_utf8(bytes).map(Part::Literal).map_err(|_| {
            "in this encoding it is no text; an event can only hold it as base64, so add `base64offset|contains`"
                .to_owned()
        }),
    });
    Ok(vec![texts.collect::<Result<_, _>>()?])
}

fn widen(parts: &mut [Encoded], mark: &[u8], bytes: fn(u16) -> [u8; 2]) {
    let mut mark = mark;
    for part in parts {
        if let Encoded::Bytes(literal) = part {
            let text = String::from_utf8_lossy(literal);
            let wide = text.encode_utf16().flat_map(bytes);
            *literal = std::mem::take(&mut mark).iter().copied().chain(wide).collect();
        }
    }
}

/// The bytes of a text without wildcards.
fn plain(parts: &[Encoded]) -> Result<Vec<u8>, String> {
    match parts {
        [] => Err("an empty text, which base64 leaves empty; some text is meant".to_owned()),
        [Encoded::Bytes(bytes)] => Ok(bytes.clone()),
        _ => Err("a wildcard has no base64; escape it with `\\` or leave it out".to_owned()),
    }
}

/// The three texts that base64 makes of bytes, by where among three bytes they begin; what depends on their
/// neighbours is cut off.
fn base64_offsets(bytes: &[u8]) -> Result<Vec<Vec<Part>>, String> {
    let cut = |offset: usize| {
        let mut shifted = vec![b' '; offset];
        shifted.extend_from_slice(bytes);
        let start = [0, 2, 3][offset];
        let end = [0, 3, 2][shifted.len() % 3];
        let text = base64(&shifted);
        text.get(start..text.len() - end).unwrap_or_default().to_owned()
    };
    let texts: Vec<String> = (0..3).map(cut).collect();
    if texts.iter().any(String::is_empty) {
        return Err("too short to be found at every offset of base64; at least two characters are meant".to_owned());
    }
    Ok(texts.into_iter().map(|text| vec![Part::Literal(text)]).collect())
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |i: usize| chunk.get(i).copied().map_or(0, u32::from);
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            let value = (bits >> (18 - 6 * digit)) as usize & 63;
            text.push(if digit <= chunk.len() { char::from(DIGITS[value]) } else { '=' });
        }
    }
    text
}
