/* A driver that does wrong what it is told to, so that the host's own checks are seen to fail. Built with mingw-w64's headers, not
 * the host's: its requests, devices and strings are a second opinion about layouts. */
#include <ntddk.h>

/* 'tluF' and 'gnrW' */
#define TAG 0x746c7546
#define OTHER_TAG 0x676e7257
#define NAME L"\\Device\\Faulty"
#define LINK L"\\DosDevices\\Faulty"
#define FAULT(name) (length == sizeof(name) - 1 && RtlCompareMemory(text, name, length) == length)

#define NON_PAGED 0x40ull
#define PAGED 0x100ull

/* mingw-w64's import library does not have these. */
static PVOID(NTAPI *allocate)(ULONGLONG flags, SIZE_T bytes, ULONG tag);
static PEX_TIMER(NTAPI *allocate_timer)(PEXT_CALLBACK callback, PVOID context, ULONG attributes);
static BOOLEAN(NTAPI *set_timer)(PEX_TIMER timer, LONGLONG due, LONGLONG period, PVOID parameters);
static BOOLEAN(NTAPI *delete_timer)(PEX_TIMER timer, BOOLEAN cancel, BOOLEAN wait, PVOID parameters);
static KIRQL(NTAPI *raise_level)(KIRQL to);

static PDEVICE_OBJECT device;
static KSPIN_LOCK lock;
static volatile ULONG sink;
static ULONG fired;
static BOOLEAN keeps_name;

static void NTAPI tick(PEX_TIMER timer, PVOID context) {
    (void)timer, (void)context;
    fired++;
}

static NTSTATUS finish(PIRP irp, NTSTATUS status, ULONG_PTR information) {
    irp->IoStatus.Status = status;
    irp->IoStatus.Information = information;
    IoCompleteRequest(irp, IO_NO_INCREMENT);
    return status;
}

static NTSTATUS fault(const char *text, ULONG length, PIRP irp) {
    KIRQL before;
    PUCHAR memory = allocate(NON_PAGED, 100, TAG);
    if (memory == NULL) return finish(irp, STATUS_INSUFFICIENT_RESOURCES, 0);
    if (FAULT("leak")) return finish(irp, STATUS_SUCCESS, 0);
    if (FAULT("overrun")) memory[100] = 1;
    if (FAULT("far-overrun")) memory[200] = 1;
    if (FAULT("underrun")) memory[-1] = 1;
    if (FAULT("wrong-tag")) {
        ExFreePoolWithTag(memory, OTHER_TAG);
        return finish(irp, STATUS_SUCCESS, 0);
    }
    ExFreePoolWithTag(memory, TAG);
    if (FAULT("use-after-free")) sink = memory[0];
    if (FAULT("double-free")) ExFreePoolWithTag(memory, TAG);
    if (FAULT("foreign-free")) ExFreePoolWithTag(&fired, TAG);
    if (FAULT("passive-call-at-dispatch")) {
        UNICODE_STRING link;
        RtlInitUnicodeString(&link, L"\\DosDevices\\Other");
        KeAcquireSpinLock(&lock, &before);
        IoCreateSymbolicLink(&link, &link);
        KeReleaseSpinLock(&lock, before);
        IoDeleteSymbolicLink(&link);
    }
    if (FAULT("paged-at-dispatch")) {
        memory = allocate(PAGED, 100, TAG);
        KeAcquireSpinLock(&lock, &before);
        sink = memory[0];
        KeReleaseSpinLock(&lock, before);
    }
    if (FAULT("lock-kept")) KeAcquireSpinLock(&lock, &before);
    if (FAULT("lock-twice")) {
        KeAcquireSpinLock(&lock, &before);
        KeAcquireSpinLock(&lock, &before);
    }
    /* The macro of these headers writes the processor's register instead of calling anybody. */
    if (FAULT("level-kept")) raise_level(DISPATCH_LEVEL);
    if (FAULT("timer-left")) set_timer(allocate_timer(tick, NULL, 0), -100000, 100000, NULL);
    if (FAULT("timer-deleted-without-wait")) delete_timer(allocate_timer(tick, NULL, 0), TRUE, FALSE, NULL);
    if (FAULT("keeps-a-name")) keeps_name = TRUE;
    if (FAULT("null")) *(volatile PUCHAR)(ULONG_PTR)length = 1;
    if (FAULT("executes-data")) ((void (*)(void))(ULONG_PTR)&sink)();
    if (FAULT("completes-twice")) {
        finish(irp, STATUS_SUCCESS, 0);
        return finish(irp, STATUS_SUCCESS, 0);
    }
    if (FAULT("reads-completed-request")) {
        finish(irp, STATUS_SUCCESS, 0);
        return irp->IoStatus.Status;
    }
    if (FAULT("never-completes")) return STATUS_SUCCESS;
    if (FAULT("other-status")) {
        finish(irp, STATUS_SUCCESS, 0);
        return STATUS_UNSUCCESSFUL;
    }
    if (FAULT("says-too-much")) return finish(irp, STATUS_SUCCESS, 65);
    if (FAULT("gives-what-it-never-wrote")) return finish(irp, STATUS_SUCCESS, 32);
    if (FAULT("stops-the-system")) KeBugCheckEx(0xe2, 1, 2, 3, 4);
    return finish(irp, STATUS_SUCCESS, 0);
}

static NTSTATUS NTAPI control(PDEVICE_OBJECT at, PIRP irp) {
    PIO_STACK_LOCATION stack = IoGetCurrentIrpStackLocation(irp);
    (void)at;
    return fault(irp->AssociatedIrp.SystemBuffer, stack->Parameters.DeviceIoControl.InputBufferLength, irp);
}

static NTSTATUS NTAPI succeed(PDEVICE_OBJECT at, PIRP irp) {
    (void)at;
    return finish(irp, STATUS_SUCCESS, 0);
}

static void NTAPI unload(PDRIVER_OBJECT driver) {
    UNICODE_STRING link;
    (void)driver;
    RtlInitUnicodeString(&link, LINK);
    if (!keeps_name) IoDeleteSymbolicLink(&link);
}

static NTSTATUS NTAPI remove_device(PDEVICE_OBJECT at, PIRP irp) {
    finish(irp, STATUS_SUCCESS, 0);
    IoDeleteDevice(at);
    return STATUS_SUCCESS;
}

/* Addresses in data, which the loader has to relocate. By a volatile index, or the compiler would not keep them. */
static const PDRIVER_DISPATCH dispatches[] = {succeed, remove_device, control};
static volatile int first;

static PVOID routine(PCWSTR name) {
    UNICODE_STRING text;
    RtlInitUnicodeString(&text, name);
    return MmGetSystemRoutineAddress(&text);
}

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING registry) {
    UNICODE_STRING name, link;
    NTSTATUS status;
    (void)registry;
#ifdef UNKNOWN_IMPORT
    sink = (ULONG)IoReportDetectedDevice(driver, 0, 0, 0, NULL, NULL, FALSE, NULL);
#endif
#ifdef UNKNOWN_NAME
    sink = routine(L"IoReportDetectedDevice") != NULL;
#endif
    allocate = (PVOID)routine(L"ExAllocatePool2");
    allocate_timer = (PVOID)routine(L"ExAllocateTimer");
    set_timer = (PVOID)routine(L"ExSetTimer");
    delete_timer = (PVOID)routine(L"ExDeleteTimer");
    raise_level = (PVOID)routine(L"KfRaiseIrql");
    RtlInitUnicodeString(&name, NAME);
    RtlInitUnicodeString(&link, LINK);
    status = IoCreateDevice(driver, 0, &name, FILE_DEVICE_UNKNOWN, FILE_DEVICE_SECURE_OPEN, FALSE, &device);
    if (!NT_SUCCESS(status)) return status;
    IoCreateSymbolicLink(&link, &name);
    driver->MajorFunction[IRP_MJ_CREATE] = driver->MajorFunction[IRP_MJ_CLEANUP] = dispatches[first];
    /* Its only handle's end is the device's. */
    driver->MajorFunction[IRP_MJ_CLOSE] = dispatches[first + 1];
    driver->MajorFunction[IRP_MJ_DEVICE_CONTROL] = dispatches[first + 2];
    driver->DriverUnload = unload;
    return STATUS_SUCCESS;
}
