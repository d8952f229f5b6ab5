/* What the kernel and a driver hand each other, on x64: written after Microsoft's documentation and mingw-w64's ddk/wdm.h, and
 * without any look at the driver under test, so that a layout that is wrong there shows. tests/nt-host/layouts.c lists where every
 * field must lie, and a test holds that list beside mingw-w64's own headers. Only what this host or a driver touches has a name. */
#ifndef TRUEMUTE_NT_HOST_NT_H
#define TRUEMUTE_NT_HOST_NT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uchar.h>

/* How 64-bit Windows passes arguments. */
#define NTAPI __attribute__((ms_abi))

typedef uint8_t UCHAR, BOOLEAN, KIRQL;
typedef int8_t CHAR;
typedef uint16_t USHORT;
typedef int16_t SHORT;
typedef uint32_t ULONG;
typedef int32_t LONG, NTSTATUS;
typedef uint64_t ULONG64, SIZE_T, ULONG_PTR;
typedef int64_t LONG64;
typedef char16_t WCHAR;
typedef void *PVOID;

enum { PASSIVE_LEVEL = 0, APC_LEVEL = 1, DISPATCH_LEVEL = 2, HIGH_LEVEL = 15 };

/* ntstatus.h */
#define STATUS(code) ((NTSTATUS)(code))
#define STATUS_SUCCESS STATUS(0)
#define STATUS_PENDING STATUS(0x103)
#define STATUS_BUFFER_OVERFLOW STATUS(0x80000005u)
#define STATUS_INVALID_HANDLE STATUS(0xC0000008u)
#define STATUS_INVALID_PARAMETER STATUS(0xC000000Du)
#define STATUS_NO_SUCH_DEVICE STATUS(0xC000000Eu)
#define STATUS_INVALID_DEVICE_REQUEST STATUS(0xC0000010u)
#define STATUS_ACCESS_DENIED STATUS(0xC0000022u)
#define STATUS_BUFFER_TOO_SMALL STATUS(0xC0000023u)
#define STATUS_OBJECT_NAME_INVALID STATUS(0xC0000033u)
#define STATUS_OBJECT_NAME_NOT_FOUND STATUS(0xC0000034u)
#define STATUS_OBJECT_NAME_COLLISION STATUS(0xC0000035u)
#define STATUS_INSUFFICIENT_RESOURCES STATUS(0xC000009Au)
#define STATUS_NOT_SUPPORTED STATUS(0xC00000BBu)
#define STATUS_NOT_FOUND STATUS(0xC0000225u)
#define STATUS_NO_MATCH STATUS(0xC0000272u)

static inline bool succeeded(NTSTATUS status) { return status >= 0; }

typedef struct {
    uint32_t a;
    uint16_t b, c;
    uint8_t d[8];
} GUID;

typedef struct {
    USHORT Length, MaximumLength;
    WCHAR *Buffer;
} UNICODE_STRING;

typedef struct LIST_ENTRY {
    struct LIST_ENTRY *Flink, *Blink;
} LIST_ENTRY;

typedef struct {
    union {
        NTSTATUS Status;
        PVOID Pointer;
    };
    ULONG_PTR Information;
} IO_STATUS_BLOCK;

typedef struct {
    UCHAR Type, Signalling;
    UCHAR Size, Reserved;
    LONG SignalState;
    LIST_ENTRY WaitListHead;
} DISPATCHER_HEADER;

typedef struct {
    DISPATCHER_HEADER Header;
} KEVENT;

struct KDPC;
typedef void NTAPI KDEFERRED_ROUTINE(struct KDPC *dpc, PVOID context, PVOID first, PVOID second);

typedef struct KDPC {
    UCHAR Type, Importance;
    USHORT Number;
    PVOID DpcListEntry;
    ULONG_PTR ProcessorHistory;
    KDEFERRED_ROUTINE *DeferredRoutine;
    PVOID DeferredContext, SystemArgument1, SystemArgument2, DpcData;
} KDPC;

typedef ULONG_PTR KSPIN_LOCK;

typedef struct MDL {
    struct MDL *Next;
    SHORT Size, MdlFlags;
    ULONG Reserved;
    PVOID Process, MappedSystemVa, StartVa;
    ULONG ByteCount, ByteOffset;
} MDL;

struct DEVICE_OBJECT;
struct DRIVER_OBJECT;
struct IRP;

typedef struct {
    SHORT Type, Size;
    struct DEVICE_OBJECT *DeviceObject;
    PVOID Vpb, FsContext, FsContext2, SectionObjectPointer, PrivateCacheMap;
    NTSTATUS FinalStatus;
    PVOID RelatedFileObject;
    BOOLEAN LockOperation, DeletePending, ReadAccess, WriteAccess, DeleteAccess, SharedRead, SharedWrite, SharedDelete;
    ULONG Flags;
    UNICODE_STRING FileName;
    LONG64 CurrentByteOffset;
    ULONG Waiters, Busy;
    PVOID LastLock;
    KEVENT Lock, Event;
    PVOID CompletionContext;
    KSPIN_LOCK IrpListLock;
    LIST_ENTRY IrpList;
    PVOID FileObjectExtension;
} FILE_OBJECT;

typedef struct {
    ULONG Privileges[2];
    PVOID ClientToken;
    ULONG ImpersonationLevel;
    PVOID PrimaryToken, ProcessAuditId;
} SECURITY_SUBJECT_CONTEXT;

typedef struct {
    LONG64 OperationID;
    BOOLEAN SecurityEvaluated, GenerateAudit, GenerateOnClose, PrivilegesAllocated;
    ULONG Flags, RemainingDesiredAccess, PreviouslyGrantedAccess, OriginalDesiredAccess;
    SECURITY_SUBJECT_CONTEXT SubjectSecurityContext;
    PVOID SecurityDescriptor, AuxData;
} ACCESS_STATE;

typedef struct {
    PVOID SecurityQos;
    ACCESS_STATE *AccessState;
    ULONG DesiredAccess, FullCreateOptions;
} IO_SECURITY_CONTEXT;

typedef struct {
    UCHAR MajorFunction, MinorFunction, Flags, Control;
    union {
        struct {
            IO_SECURITY_CONTEXT *SecurityContext;
            ULONG Options;
            USHORT FileAttributes __attribute__((aligned(8)));
            USHORT ShareAccess;
            ULONG EaLength __attribute__((aligned(8)));
        } Create;
        struct {
            ULONG OutputBufferLength;
            ULONG InputBufferLength __attribute__((aligned(8)));
            ULONG IoControlCode __attribute__((aligned(8)));
            PVOID Type3InputBuffer;
        } DeviceIoControl;
        struct {
            PVOID AllocatedResources, AllocatedResourcesTranslated;
        } StartDevice;
        PVOID Argument[4];
    } Parameters;
    struct DEVICE_OBJECT *DeviceObject;
    FILE_OBJECT *FileObject;
    PVOID CompletionRoutine, Context;
} IO_STACK_LOCATION;

enum { SL_PENDING_RETURNED = 1 };

typedef void NTAPI DRIVER_CANCEL(struct DEVICE_OBJECT *device, struct IRP *irp);

typedef struct IRP {
    SHORT Type;
    USHORT Size;
    MDL *MdlAddress;
    ULONG Flags;
    PVOID SystemBuffer;
    LIST_ENTRY ThreadListEntry;
    IO_STATUS_BLOCK IoStatus;
    CHAR RequestorMode;
    BOOLEAN PendingReturned;
    CHAR StackCount, CurrentLocation;
    BOOLEAN Cancel;
    KIRQL CancelIrql;
    CHAR ApcEnvironment;
    UCHAR AllocationFlags;
    IO_STATUS_BLOCK *UserIosb;
    KEVENT *UserEvent;
    PVOID Overlay[2];
    DRIVER_CANCEL *volatile CancelRoutine;
    PVOID UserBuffer;
    union {
        struct {
            PVOID DriverContext[4];
            PVOID Thread, AuxiliaryBuffer;
            LIST_ENTRY ListEntry;
            IO_STACK_LOCATION *CurrentStackLocation;
            FILE_OBJECT *OriginalFileObject;
        } Overlay;
        /* An asynchronous procedure call may lie here. */
        UCHAR Apc[0x58];
    } Tail;
} IRP;

typedef NTSTATUS NTAPI DRIVER_DISPATCH(struct DEVICE_OBJECT *device, IRP *irp);
typedef NTSTATUS NTAPI DRIVER_ADD_DEVICE(struct DRIVER_OBJECT *driver, struct DEVICE_OBJECT *physical);
typedef NTSTATUS NTAPI DRIVER_INITIALIZE(struct DRIVER_OBJECT *driver, UNICODE_STRING *registry);
typedef void NTAPI DRIVER_UNLOAD(struct DRIVER_OBJECT *driver);

typedef struct {
    struct DRIVER_OBJECT *DriverObject;
    DRIVER_ADD_DEVICE *AddDevice;
    ULONG Count;
    UNICODE_STRING ServiceKeyName;
} DRIVER_EXTENSION;

enum {
    IRP_MJ_CREATE = 0,
    IRP_MJ_CLOSE = 2,
    IRP_MJ_DEVICE_CONTROL = 0x0e,
    IRP_MJ_CLEANUP = 0x12,
    IRP_MJ_POWER = 0x16,
    IRP_MJ_SYSTEM_CONTROL = 0x17,
    IRP_MJ_PNP = 0x1b,
    MAJOR_FUNCTIONS = 0x1c,
};

enum {
    IRP_MN_START_DEVICE = 0,
    IRP_MN_QUERY_REMOVE_DEVICE = 1,
    IRP_MN_REMOVE_DEVICE = 2,
    IRP_MN_CANCEL_REMOVE_DEVICE = 3,
    IRP_MN_STOP_DEVICE = 4,
    IRP_MN_QUERY_STOP_DEVICE = 5,
    IRP_MN_CANCEL_STOP_DEVICE = 6,
    IRP_MN_SURPRISE_REMOVAL = 0x17,
};

typedef BOOLEAN NTAPI FAST_IO_DEVICE_CONTROL(FILE_OBJECT *file, BOOLEAN wait, PVOID input, ULONG input_bytes, PVOID output, ULONG output_bytes, ULONG code, IO_STATUS_BLOCK *status,
                                             struct DEVICE_OBJECT *device);

typedef struct {
    ULONG SizeOfFastIoDispatch;
    PVOID Before[9];
    FAST_IO_DEVICE_CONTROL *FastIoDeviceControl;
    PVOID After[17];
} FAST_IO_DISPATCH;

typedef struct DRIVER_OBJECT {
    SHORT Type, Size;
    struct DEVICE_OBJECT *DeviceObject;
    ULONG Flags;
    PVOID DriverStart;
    ULONG DriverSize;
    PVOID DriverSection;
    DRIVER_EXTENSION *DriverExtension;
    UNICODE_STRING DriverName;
    PVOID HardwareDatabase;
    FAST_IO_DISPATCH *FastIoDispatch;
    DRIVER_INITIALIZE *DriverInit;
    PVOID DriverStartIo;
    DRIVER_UNLOAD *DriverUnload;
    DRIVER_DISPATCH *MajorFunction[MAJOR_FUNCTIONS];
} DRIVER_OBJECT;

enum { DO_BUFFERED_IO = 4, DO_DEVICE_INITIALIZING = 0x80 };

typedef struct DEVICE_OBJECT {
    SHORT Type;
    USHORT Size;
    LONG ReferenceCount;
    DRIVER_OBJECT *DriverObject;
    struct DEVICE_OBJECT *NextDevice, *AttachedDevice;
    IRP *CurrentIrp;
    PVOID Timer;
    ULONG Flags, Characteristics;
    PVOID Vpb, DeviceExtension;
    ULONG DeviceType;
    CHAR StackSize;
    PVOID Queue[9];
    ULONG AlignmentRequirement;
    PVOID DeviceQueue[5];
    KDPC Dpc;
    ULONG ActiveThreadCount;
    PVOID SecurityDescriptor;
    KEVENT DeviceLock;
    USHORT SectorSize, Spare1;
    PVOID DeviceObjectExtension, Reserved;
} __attribute__((aligned(16))) DEVICE_OBJECT;

/* How an import is answered. The module is the one whose import library Microsoft's documentation names; "|" separates several. */
typedef struct {
    const char *modules, *name;
    PVOID address;
} Export;

#define KERNEL "ntoskrnl.exe"
#define EXPORT(module, function) {module, #function, (PVOID)(uintptr_t)function}
#define END_OF_EXPORTS {NULL, NULL, NULL}

#endif
