//! Whether a file is a whole library. The linker maps a file without looking at its length, so that one of
//! which the end is missing (it is just being copied) would end the process.

/// Sizes and places in the header of a 64 bit ELF file.
const HEADER: usize = 64;
const PROGRAM_ENTRY: u64 = 56;
const LOAD: u64 = 1;

/// Looks whether all that the headers speak of is in the file.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn check(file: &[u8]) -> Result<(), &'static str> {
    const NOT_ONE: &str = "not a library of this system";
    const CUT_OFF: &str = "cut off: its end is missing";
    if file.len() < HEADER || !file.starts_with(b"\x7fELF\x02") || file[5] != ENDIAN {
        return Err(NOT_ONE);
    }
    let number = |at: usize, length: usize| number(file, at, length).ok_or(CUT_OFF);
    let inside = |offset: u64, length: u64| match offset.checked_add(length) {
        Some(end) if end <= file.len() as u64 => Ok(()),
        _ => Err(CUT_OFF),
    };
    let (programs, sections) = (number(32, 8)?, number(40, 8)?);
    let (program_size, program_count) = (number(54, 2)?, number(56, 2)?);
    let (section_size, section_count) = (number(58, 2)?, number(60, 2)?);
    if program_size != PROGRAM_ENTRY {
        return Err(NOT_ONE);
    }
    inside(programs, program_size * program_count)?;
    inside(sections, section_size * section_count)?;
    for entry in 0..program_count {
        // Inside, as was just seen.
        let at = (programs + entry * program_size) as usize;
        if number(at, 4)? == LOAD {
            inside(number(at + 8, 8)?, number(at + 32, 8)?)?;
        }
    }
    Ok(())
}

/// Byte order of this system, as ELF counts them.
const ENDIAN: u8 = if cfg!(target_endian = "little") { 1 } else { 2 };

/// A number of 2, 4 or 8 bytes in the byte order of this system.
fn number(file: &[u8], at: usize, length: usize) -> Option<u64> {
    let bytes = file.get(at..at.checked_add(length)?)?;
    let mut whole = [0; 8];
    match cfg!(target_endian = "little") {
        true => whole[..length].copy_from_slice(bytes),
        false => whole[8 - length..].copy_from_slice(bytes),
    }
    Some(u64::from_ne_bytes(whole))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_whole_file_and_parts_of_it() {
        let whole = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        assert_eq!(check(&whole), Ok(()));
        for part in [0, 1, 63, 64, 100, whole.len() / 2, whole.len() - 1] {
            assert!(check(&whole[..part]).is_err(), "{part} bytes");
        }
    }

    #[test]
    fn numbers_that_lead_nowhere() {
        let mut file = vec![0; 200];
        file[..6].copy_from_slice(b"\x7fELF\x02\x01");
        assert!(check(&file).is_err(), "no size of program headers");
        file[54] = 56;
        assert_eq!(check(&file), Ok(()));
        file[32..40].fill(0xff);
        assert!(check(&file).is_err());
        file[32..40].fill(0);
        file[56] = 1;
        file[32] = 64;
        file[64] = 1;
        assert_eq!(check(&file), Ok(()));
        file[64 + 32] = 201;
        assert!(check(&file).is_err());
    }
}
