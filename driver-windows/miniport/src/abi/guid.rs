//! The identifiers that the system knows things by. Each with the header that defines it.

use core::fmt;

/// `GUID` of guiddef.h.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Guid {
    data1: u32,
    data2: u16,
    data3: u16,
    data4: [u8; 8],
}

impl Guid {
    /// From the number that the digits of its text spell.
    pub const fn new(digits: u128) -> Self {
        Self {
            data1: (digits >> 96) as u32,
            data2: (digits >> 80) as u16,
            data3: (digits >> 64) as u16,
            data4: (digits as u64).to_be_bytes(),
        }
    }

    /// As it lies in memory.
    pub const fn bytes(self) -> [u8; 16] {
        let [a, b, c, d] = self.data1.to_le_bytes();
        let [e, f] = self.data2.to_le_bytes();
        let [g, h] = self.data3.to_le_bytes();
        let [i, j, k, l, m, n, o, p] = self.data4;
        [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]
    }
}

impl fmt::Debug for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:08X}-{:04X}-{:04X}-{:02X?}",
            self.data1, self.data2, self.data3, self.data4
        )
    }
}

macro_rules! guids {
    ($($(#[$meta:meta])* $name:ident = $digits:literal;)*) => {
        $($(#[$meta])* pub static $name: Guid = Guid::new($digits);)*
    };
}

guids! {
    /// punknown.h.
    IID_UNKNOWN = 0x00000000_0000_0000_C000_000000000046;
    /// portcls.h.
    IID_MINIPORT = 0xB4C90A24_5791_11D0_86F9_00A0C911B544;
    /// portcls.h.
    IID_MINIPORT_TOPOLOGY = 0xB4C90A31_5791_11D0_86F9_00A0C911B544;
    /// portcls.h.
    IID_MINIPORT_WAVE_RT = 0x0F9FC4D6_6061_4F3C_B1FC_075E35F7960A;
    /// portcls.h.
    IID_MINIPORT_WAVE_RT_STREAM = 0x000AC9AB_FAAB_4F3D_9455_6FF8306A74A0;
    /// portcls.h.
    IID_MINIPORT_WAVE_RT_STREAM_NOTIFICATION = 0x23759128_96F1_423B_AB4D_81635BCF8CA1;
    /// portcls.h, since Windows 10.
    IID_MINIPORT_WAVE_RT_INPUT_STREAM = 0xCD8E756A_5FC7_4624_984B_2AF02925B91F;
    /// portcls.h, since Windows 8.1.
    IID_MINIPORT_AUDIO_SIGNAL_PROCESSING = 0xB532678C_BE50_472D_9973_8A6F16594989;
    /// portcls.h.
    IID_ADAPTER_POWER_MANAGEMENT = 0x793417D0_35FE_11D1_AD08_00A0C90AB1B0;
    /// portcls.h.
    CLSID_PORT_WAVE_RT = 0xCC9BE57A_EB9E_42B4_94FC_0CAD3DBCE7FA;
    /// portcls.h.
    CLSID_PORT_TOPOLOGY = 0xB4C90A32_5791_11D0_86F9_00A0C911B544;
    /// ks.h.
    PROPSET_PIN = 0x8C134960_51AD_11CF_878A_94F801C10000;
    /// ksmedia.h, since Windows Vista.
    PROPSET_JACK = 0x4509F757_2D46_4637_8E62_CE7DB944F57B;
    /// ksmedia.h.
    CATEGORY_AUDIO = 0x6994AD04_93EF_11D0_A3CC_00A0C9223196;
    /// ksmedia.h.
    NODE_ADC = 0x4D837FE0_C555_11D0_8A2B_00A0C9255AC1;
    /// ksmedia.h.
    NODE_MICROPHONE = 0xDFF21BE1_F70F_11D0_B917_00A0C9223196;
    /// ksmedia.h.
    NAME_RECORDING_CONTROL = 0x185FEDFA_9905_11D1_95A9_00C04FB925D3;
    /// ksmedia.h.
    TYPE_AUDIO = 0x73647561_0000_0010_8000_00AA00389B71;
    /// ksmedia.h.
    SUBTYPE_PCM = 0x00000001_0000_0010_8000_00AA00389B71;
    /// ksmedia.h.
    SUBTYPE_ANALOG = 0x6DBA3190_67BD_11CF_A0F7_0020AFD156E4;
    /// ks.h.
    SPECIFIER_NONE = 0x0F6417D6_C318_11D0_A43F_00A0C9223196;
    /// ksmedia.h.
    SPECIFIER_WAVEFORMATEX = 0x05589F81_C356_11CE_BF01_00AA0055595A;
    /// ksmedia.h, since Windows 8.1: the attribute that names a signal processing mode.
    ATTRIBUTE_SIGNAL_PROCESSING_MODE = 0xE1F89EB5_5F46_419B_967B_FF6770B98401;
    /// ksmedia.h, since Windows 8.1.
    MODE_RAW = 0x9E90EA20_B493_4FD1_A1A8_7E1361A956CF;
    /// ksmedia.h, since Windows 8.1.
    MODE_DEFAULT = 0xC18E2F7E_933D_4965_B7D1_1EEF228D2AF3;
}
