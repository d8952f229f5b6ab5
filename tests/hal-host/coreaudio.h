/* What the HAL's plug-in interface looks like from the host's side: declarations of our own, after the documentation and the
 * field lists of Apple's CoreAudio/AudioServerPlugIn.h, AudioHardwareBase.h and CoreAudioTypes.h. Written without a look at the
 * plug-in's Rust: two that wrote down the same mistake would agree on it. */
#ifndef TRUEMUTE_HAL_HOST_COREAUDIO_H
#define TRUEMUTE_HAL_HOST_COREAUDIO_H

#include "foundation.h"

typedef double Float64;
typedef float Float32;
typedef SInt32 OSStatus;
typedef SInt32 HRESULT;
typedef UInt32 ULONG;
typedef UInt32 AudioObjectID;

/* A four-character constant, first character in the highest byte. */
#define CODE(a, b, c, d) ((UInt32)(a) << 24 | (UInt32)(b) << 16 | (UInt32)(c) << 8 | (UInt32)(d))

enum { noErr = 0, kPlugInObject = 1, kHostClientID = 0 };
enum { S_OK = 0 };
#define E_NOINTERFACE ((HRESULT)0x80000004)

#define kAudioHardwareUnknownPropertyError ((OSStatus)CODE('w', 'h', 'o', '?'))
#define kAudioHardwareBadPropertySizeError ((OSStatus)CODE('!', 's', 'i', 'z'))
#define kAudioHardwareBadObjectError ((OSStatus)CODE('!', 'o', 'b', 'j'))
#define kAudioHardwareIllegalOperationError ((OSStatus)CODE('n', 'o', 'p', 'e'))
#define kAudioHardwareUnsupportedOperationError ((OSStatus)CODE('u', 'n', 'o', 'p'))
#define kAudioDeviceUnsupportedFormatError ((OSStatus)CODE('!', 'd', 'a', 't'))

enum {
    kScopeGlobal = CODE('g', 'l', 'o', 'b'),
    kScopeInput = CODE('i', 'n', 'p', 't'),
    kScopeOutput = CODE('o', 'u', 't', 'p'),
    kScopePlayThrough = CODE('p', 't', 'r', 'u'),
    kScopeWildcard = CODE('*', '*', '*', '*'),
};

enum {
    kOperationThread = CODE('t', 'h', 'r', 'd'),
    kOperationCycle = CODE('c', 'y', 'c', 'l'),
    kOperationReadInput = CODE('r', 'e', 'a', 'd'),
    kOperationConvertInput = CODE('c', 'i', 'n', 'p'),
    kOperationProcessInput = CODE('p', 'i', 'n', 'p'),
    kOperationProcessOutput = CODE('p', 'o', 'u', 't'),
    kOperationMixOutput = CODE('m', 'i', 'x', 'o'),
    kOperationProcessMix = CODE('p', 'm', 'i', 'x'),
    kOperationConvertMix = CODE('c', 'm', 'i', 'x'),
    kOperationWriteMix = CODE('r', 'i', 't', 'e'),
};

typedef struct {
    SInt16 mSubframes;
    SInt16 mSubframeDivisor;
    UInt32 mCounter;
    UInt32 mType;
    UInt32 mFlags;
    SInt16 mHours;
    SInt16 mMinutes;
    SInt16 mSeconds;
    SInt16 mFrames;
} SMPTETime;

typedef struct {
    Float64 mSampleTime;
    UInt64 mHostTime;
    Float64 mRateScalar;
    UInt64 mWordClockTime;
    SMPTETime mSMPTETime;
    UInt32 mFlags;
    UInt32 mReserved;
} AudioTimeStamp;

typedef struct {
    Float64 mSampleRate;
    UInt32 mFormatID;
    UInt32 mFormatFlags;
    UInt32 mBytesPerPacket;
    UInt32 mFramesPerPacket;
    UInt32 mBytesPerFrame;
    UInt32 mChannelsPerFrame;
    UInt32 mBitsPerChannel;
    UInt32 mReserved;
} AudioStreamBasicDescription;

typedef struct {
    Float64 mMinimum;
    Float64 mMaximum;
} AudioValueRange;

typedef struct {
    AudioStreamBasicDescription mFormat;
    AudioValueRange mSampleRateRange;
} AudioStreamRangedDescription;

typedef struct {
    UInt32 mSelector;
    UInt32 mScope;
    UInt32 mElement;
} AudioObjectPropertyAddress;

typedef struct {
    UInt32 mSelector;
    UInt32 mPropertyDataType;
    UInt32 mQualifierDataType;
} AudioServerPlugInCustomPropertyInfo;

typedef struct {
    UInt32 mClientID;
    SInt32 mProcessID;
    Boolean mIsNativeEndian;
    CFTypeRef mBundleID;
} AudioServerPlugInClientInfo;

typedef struct {
    UInt64 mIOCycleCounter;
    UInt32 mNominalIOBufferFrameSize;
    AudioTimeStamp mCurrentTime;
    AudioTimeStamp mInputTime;
    AudioTimeStamp mOutputTime;
    Float64 mMainHostTicksPerFrame;
    Float64 mDeviceHostTicksPerFrame;
} AudioServerPlugInIOCycleInfo;

typedef struct HostInterface HostInterface;
typedef const HostInterface *HostRef;

struct HostInterface {
    OSStatus (*PropertiesChanged)(HostRef, AudioObjectID, UInt32 count, const AudioObjectPropertyAddress *);
    OSStatus (*CopyFromStorage)(HostRef, CFTypeRef key, CFTypeRef *data);
    OSStatus (*WriteToStorage)(HostRef, CFTypeRef key, CFTypeRef data);
    OSStatus (*DeleteFromStorage)(HostRef, CFTypeRef key);
    OSStatus (*RequestDeviceConfigurationChange)(HostRef, AudioObjectID, UInt64 action, void *info);
};

typedef struct DriverInterface DriverInterface;
typedef DriverInterface **DriverRef;

struct DriverInterface {
    void *reserved;
    HRESULT (*QueryInterface)(void *, CFUUIDBytes, void **);
    ULONG (*AddRef)(void *);
    ULONG (*Release)(void *);
    OSStatus (*Initialize)(DriverRef, HostRef);
    OSStatus (*CreateDevice)(DriverRef, CFTypeRef description, const AudioServerPlugInClientInfo *, AudioObjectID *);
    OSStatus (*DestroyDevice)(DriverRef, AudioObjectID);
    OSStatus (*AddDeviceClient)(DriverRef, AudioObjectID, const AudioServerPlugInClientInfo *);
    OSStatus (*RemoveDeviceClient)(DriverRef, AudioObjectID, const AudioServerPlugInClientInfo *);
    OSStatus (*PerformDeviceConfigurationChange)(DriverRef, AudioObjectID, UInt64 action, void *info);
    OSStatus (*AbortDeviceConfigurationChange)(DriverRef, AudioObjectID, UInt64 action, void *info);
    Boolean (*HasProperty)(DriverRef, AudioObjectID, SInt32 pid, const AudioObjectPropertyAddress *);
    OSStatus (*IsPropertySettable)(DriverRef, AudioObjectID, SInt32 pid, const AudioObjectPropertyAddress *, Boolean *);
    OSStatus (*GetPropertyDataSize)(DriverRef, AudioObjectID, SInt32 pid, const AudioObjectPropertyAddress *,
                                    UInt32 qualifier_size, const void *qualifier, UInt32 *size);
    OSStatus (*GetPropertyData)(DriverRef, AudioObjectID, SInt32 pid, const AudioObjectPropertyAddress *,
                                UInt32 qualifier_size, const void *qualifier, UInt32 room, UInt32 *size, void *data);
    OSStatus (*SetPropertyData)(DriverRef, AudioObjectID, SInt32 pid, const AudioObjectPropertyAddress *,
                                UInt32 qualifier_size, const void *qualifier, UInt32 size, const void *data);
    OSStatus (*StartIO)(DriverRef, AudioObjectID, UInt32 client);
    OSStatus (*StopIO)(DriverRef, AudioObjectID, UInt32 client);
    OSStatus (*GetZeroTimeStamp)(DriverRef, AudioObjectID, UInt32 client, Float64 *sample, UInt64 *host, UInt64 *seed);
    OSStatus (*WillDoIOOperation)(DriverRef, AudioObjectID, UInt32 client, UInt32 operation, Boolean *will, Boolean *in_place);
    OSStatus (*BeginIOOperation)(DriverRef, AudioObjectID, UInt32 client, UInt32 operation, UInt32 frames,
                                 const AudioServerPlugInIOCycleInfo *);
    OSStatus (*DoIOOperation)(DriverRef, AudioObjectID device, AudioObjectID stream, UInt32 client, UInt32 operation,
                              UInt32 frames, const AudioServerPlugInIOCycleInfo *, void *main, void *secondary);
    OSStatus (*EndIOOperation)(DriverRef, AudioObjectID, UInt32 client, UInt32 operation, UInt32 frames,
                               const AudioServerPlugInIOCycleInfo *);
};

#endif
