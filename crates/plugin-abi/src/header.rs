//! What a library says of itself before anything of it is called.

/// First bytes of a [`Header`].
pub const MAGIC: [u8; 16] = *b"emqttd plugin\0\x1a\n";

/// Version of the ABI that changes when old libraries cannot be used any more.
pub const MAJOR: u16 = 1;

/// Version of the ABI that changes when something is added.
pub const MINOR: u16 = 1;

/// The static `emqttd_plugin_abi` of a library. Its first four fields have this place in every version.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Header {
    magic: [u8; 16],
    major: u16,
    minor: u16,
    /// length of the header in bytes
    size: u32,
    /// 0 = unwind, 1 = abort
    panic: u32,
    sdk: [u8; 32],
    rustc: [u8; 96],
}

impl Header {
    /// The header of a library that is being compiled. `sdk` is the version of the SDK.
    pub const fn new(sdk: &str, panic_aborts: bool) -> Header {
        Header {
            magic: MAGIC,
            major: MAJOR,
            minor: MINOR,
            size: size_of::<Header>() as u32,
            panic: panic_aborts as u32,
            sdk: padded(sdk),
            rustc: padded(env!("EMQTTD_RUSTC")),
        }
    }

    /// Version of the SDK it was built with.
    pub fn sdk(&self) -> String {
        text(&self.sdk)
    }

    /// The compiler it was built with.
    pub fn rustc(&self) -> String {
        text(&self.rustc)
    }

    /// Major and minor version of the ABI.
    pub fn version(&self) -> (u16, u16) {
        (self.major, self.minor)
    }

    /// Whether a broker of this version can use the library; if not, a sentence that says what to do.
    ///
    /// # Errors
    /// That sentence.
    pub fn check(&self) -> Result<(), String> {
        self.check_for(MAJOR, MINOR)
    }

    /// As [`Header::check`], for a broker of that version.
    pub(crate) fn check_for(&self, major: u16, minor: u16) -> Result<(), String> {
        if self.magic != MAGIC {
            return Err(not_a_plugin());
        }
        let built = format!("built for plugin ABI {}.{}", self.major, self.minor);
        let ours = format!("this broker has {major}.{minor}");
        if self.major != major {
            let sdk = env!("CARGO_PKG_VERSION");
            return Err(format!(
                "{built}, {ours}: rebuild it with emqttd-plugin-sdk {sdk}"
            ));
        }
        if self.minor > minor {
            return Err(format!(
                "{built}, {ours}: use a newer broker, or rebuild it with the emqttd-plugin-sdk of this one ({})",
                env!("CARGO_PKG_VERSION")
            ));
        }
        if (self.size as usize) < size_of::<Header>() {
            return Err(not_a_plugin());
        }
        if self.panic != 0 {
            return Err(
                "built with panic = \"abort\", so that a panic in it would end the broker: remove that line \
                 from its Cargo.toml and rebuild it"
                    .into(),
            );
        }
        Ok(())
    }
}

/// For libraries that are something else.
pub(crate) fn not_a_plugin() -> String {
    "not a plugin of emqttd: it was not made with emqttd_plugin_sdk::export_plugin!".into()
}

const fn padded<const N: usize>(text: &str) -> [u8; N] {
    let text = text.as_bytes();
    let mut bytes = [0; N];
    let mut i = 0;
    // The last byte stays zero.
    while i < text.len() && i + 1 < N {
        bytes[i] = text[i];
        i += 1;
    }
    bytes
}

fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}
