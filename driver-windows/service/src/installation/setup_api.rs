//! Windows' device manager, by SetupAPI, newdev and the configuration manager.

use std::path::Path;

use windows::Win32::Devices::DeviceAndDriverInstallation::{
    CM_DEVNODE_STATUS_FLAGS, CM_Get_DevNode_Status, CM_PROB, CR_SUCCESS, DI_NEEDREBOOT,
    DI_NEEDRESTART, DICD_GENERATE_ID, DIF_REGISTERDEVICE, DIF_REMOVE, DIGCF_ALLCLASSES,
    DN_HAS_PROBLEM, GUID_DEVCLASS_MEDIA, HDEVINFO, INSTALLFLAG_FORCE, SP_DEVINFO_DATA,
    SP_DEVINSTALL_PARAMS_W, SPDRP_HARDWAREID, SetupDiCallClassInstaller,
    SetupDiCreateDeviceInfoList, SetupDiCreateDeviceInfoW, SetupDiDestroyDeviceInfoList,
    SetupDiEnumDeviceInfo, SetupDiGetClassDevsW, SetupDiGetDeviceInstallParamsW,
    SetupDiGetDeviceRegistryPropertyW, SetupDiSetDeviceRegistryPropertyW,
    UpdateDriverForPlugAndPlayDevicesW,
};
use windows::Win32::Foundation::{ERROR_NO_MORE_ITEMS, WIN32_ERROR};
use windows::core::{BOOL, HSTRING, PCWSTR, w};

use super::{DeviceManager, HARDWARE_ID};

/// Windows' device manager.
#[derive(Clone, Copy, Debug, Default)]
pub struct SetupApi;

/// A list of devices, freed when it is dropped.
struct List(HDEVINFO);

impl Drop for List {
    fn drop(&mut self) {
        // SAFETY: made by SetupAPI, and freed once.
        let _ = unsafe { SetupDiDestroyDeviceInfoList(self.0) };
    }
}

/// A device node of ours.
pub struct Node {
    /// It belongs to this list.
    list: std::rc::Rc<List>,
    data: SP_DEVINFO_DATA,
}

impl DeviceManager for SetupApi {
    type Node = Node;

    fn nodes(&self) -> Result<Vec<Node>, u32> {
        // SAFETY: the text lives as long as the call. All devices of the enumerator for what has no bus, started or not.
        let list = unsafe { SetupDiGetClassDevsW(None, w!("ROOT"), None, DIGCF_ALLCLASSES) };
        let list = std::rc::Rc::new(List(list.map_err(code)?));
        let mut nodes = Vec::new();
        for number in 0.. {
            let mut data = empty();
            // SAFETY: the list lives; `data` says how long it is.
            match unsafe { SetupDiEnumDeviceInfo(list.0, number, &raw mut data) } {
                Ok(()) => {}
                Err(error) if code_of(&error) == ERROR_NO_MORE_ITEMS.0 => break,
                Err(error) => return Err(code(error)),
            }
            if has_our_id(&list, &data) {
                nodes.push(Node {
                    list: list.clone(),
                    data,
                });
            }
        }
        Ok(nodes)
    }

    fn make(&self) -> Result<(), u32> {
        let class = GUID_DEVCLASS_MEDIA;
        // A list of texts: each ends with a zero, and the list with another one.
        let ids: Vec<u8> = HARDWARE_ID
            .encode_utf16()
            .chain([0, 0])
            .flat_map(u16::to_le_bytes)
            .collect();
        // SAFETY: the list and the data live as long as the calls; the texts end with zeros.
        unsafe {
            let list =
                List(SetupDiCreateDeviceInfoList(Some(&raw const class), None).map_err(code)?);
            let mut data = empty();
            SetupDiCreateDeviceInfoW(
                list.0,
                w!("TrueMute"),
                &raw const class,
                PCWSTR::null(),
                None,
                DICD_GENERATE_ID,
                Some(&raw mut data),
            )
            .map_err(code)?;
            SetupDiSetDeviceRegistryPropertyW(list.0, &raw mut data, SPDRP_HARDWAREID, Some(&ids))
                .map_err(code)?;
            SetupDiCallClassInstaller(DIF_REGISTERDEVICE, list.0, Some(&raw const data))
                .map_err(code)
        }
    }

    fn give_driver(&self, inf: &Path) -> Result<bool, u32> {
        let mut restart = BOOL(0);
        // SAFETY: the texts live as long as the call; the answer can be written. Forced: a driver of the same version is installed anew.
        unsafe {
            UpdateDriverForPlugAndPlayDevicesW(
                None,
                &HSTRING::from(HARDWARE_ID),
                &HSTRING::from(inf),
                INSTALLFLAG_FORCE,
                Some(&raw mut restart),
            )
        }
        .map_err(code)?;
        Ok(restart.as_bool())
    }

    /// By the class installer, for `DiUninstallDevice` does the same and is missing in Wine.
    fn remove(&self, node: Node) -> Result<bool, u32> {
        let mut after = SP_DEVINSTALL_PARAMS_W {
            cbSize: u32::try_from(size_of::<SP_DEVINSTALL_PARAMS_W>()).unwrap_or(0),
            ..SP_DEVINSTALL_PARAMS_W::default()
        };
        // SAFETY: the node belongs to its list, which lives; `after` says how long it is.
        let asked = unsafe {
            SetupDiCallClassInstaller(DIF_REMOVE, node.list.0, Some(&raw const node.data))
                .map_err(code)?;
            SetupDiGetDeviceInstallParamsW(node.list.0, Some(&raw const node.data), &raw mut after)
        };
        // In Wine the node is not in its list any more, and needs no restart.
        let needs = |flag| asked.is_ok() && after.Flags.contains(flag);
        Ok(needs(DI_NEEDRESTART) || needs(DI_NEEDREBOOT))
    }

    fn problem(&self, node: &Node) -> Result<Option<u32>, u32> {
        let (mut status, mut problem) = (CM_DEVNODE_STATUS_FLAGS::default(), CM_PROB::default());
        // SAFETY: both can be written.
        let answer = unsafe {
            CM_Get_DevNode_Status(&raw mut status, &raw mut problem, node.data.DevInst, 0)
        };
        if answer != CR_SUCCESS {
            return Err(answer.0);
        }
        Ok((status.0 & DN_HAS_PROBLEM.0 != 0).then_some(problem.0))
    }
}

/// Whether one of its hardware ids is ours. They are compared as Windows does, whatever the case.
fn has_our_id(list: &List, data: &SP_DEVINFO_DATA) -> bool {
    let mut bytes = [0; 2048];
    // SAFETY: the device belongs to the list; the buffer has so many bytes.
    let got = unsafe {
        SetupDiGetDeviceRegistryPropertyW(
            list.0,
            data,
            SPDRP_HARDWAREID,
            None,
            Some(&mut bytes),
            None,
        )
    };
    let units = bytes.as_chunks::<2>().0.iter();
    let units: Vec<u16> = units.map(|unit| u16::from_le_bytes(*unit)).collect();
    // A device without the property, or with more of it than there is room for, is none of ours.
    got.is_ok()
        && units
            .split(|unit| *unit == 0)
            .any(|id| String::from_utf16_lossy(id).eq_ignore_ascii_case(HARDWARE_ID))
}

fn empty() -> SP_DEVINFO_DATA {
    SP_DEVINFO_DATA {
        cbSize: u32::try_from(size_of::<SP_DEVINFO_DATA>()).unwrap_or(0),
        ..SP_DEVINFO_DATA::default()
    }
}

fn code_of(error: &windows::core::Error) -> u32 {
    match WIN32_ERROR::from_error(error) {
        Some(WIN32_ERROR(number)) => number,
        None => setup_code(error.code().0.cast_unsigned()),
    }
}

fn code(error: windows::core::Error) -> u32 {
    code_of(&error)
}

/// SetupAPI's own numbers (0xE000xxxx) come as they are, or as results of their facility (0x800Fxxxx, setupapi.h and winerror.h:
/// `HRESULT_FROM_SETUPAPI`).
fn setup_code(result: u32) -> u32 {
    match result & 0xFFFF_0000 {
        0x800F_0000 => 0xE000_0000 | (result & 0xFFFF),
        _ => result,
    }
}
