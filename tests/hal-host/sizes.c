/* Prints what this compiler makes of the declarations: `name size` and `name.field offset`, for a comparison with the plug-in's. */
#include <stdio.h>

#include "coreaudio.h"
#include "parts.h"

#define SIZE(type) printf(#type " %zu\n", sizeof(type))
#define FIELD(type, field) printf(#type "." #field " %zu\n", offsetof(type, field))

int print_sizes(void) {
    SIZE(CFUUIDBytes);
    SIZE(SMPTETime);
    FIELD(SMPTETime, mSubframes), FIELD(SMPTETime, mSubframeDivisor), FIELD(SMPTETime, mCounter), FIELD(SMPTETime, mType);
    FIELD(SMPTETime, mFlags), FIELD(SMPTETime, mHours), FIELD(SMPTETime, mMinutes), FIELD(SMPTETime, mSeconds);
    FIELD(SMPTETime, mFrames);
    SIZE(AudioTimeStamp);
    FIELD(AudioTimeStamp, mSampleTime), FIELD(AudioTimeStamp, mHostTime), FIELD(AudioTimeStamp, mRateScalar);
    FIELD(AudioTimeStamp, mWordClockTime), FIELD(AudioTimeStamp, mSMPTETime), FIELD(AudioTimeStamp, mFlags);
    FIELD(AudioTimeStamp, mReserved);
    SIZE(AudioStreamBasicDescription);
    FIELD(AudioStreamBasicDescription, mSampleRate), FIELD(AudioStreamBasicDescription, mFormatID);
    FIELD(AudioStreamBasicDescription, mFormatFlags), FIELD(AudioStreamBasicDescription, mBytesPerPacket);
    FIELD(AudioStreamBasicDescription, mFramesPerPacket), FIELD(AudioStreamBasicDescription, mBytesPerFrame);
    FIELD(AudioStreamBasicDescription, mChannelsPerFrame), FIELD(AudioStreamBasicDescription, mBitsPerChannel);
    FIELD(AudioStreamBasicDescription, mReserved);
    SIZE(AudioValueRange);
    FIELD(AudioValueRange, mMinimum), FIELD(AudioValueRange, mMaximum);
    SIZE(AudioStreamRangedDescription);
    FIELD(AudioStreamRangedDescription, mFormat), FIELD(AudioStreamRangedDescription, mSampleRateRange);
    SIZE(AudioObjectPropertyAddress);
    FIELD(AudioObjectPropertyAddress, mSelector), FIELD(AudioObjectPropertyAddress, mScope);
    FIELD(AudioObjectPropertyAddress, mElement);
    SIZE(AudioServerPlugInCustomPropertyInfo);
    FIELD(AudioServerPlugInCustomPropertyInfo, mSelector), FIELD(AudioServerPlugInCustomPropertyInfo, mPropertyDataType);
    FIELD(AudioServerPlugInCustomPropertyInfo, mQualifierDataType);
    SIZE(AudioServerPlugInClientInfo);
    FIELD(AudioServerPlugInClientInfo, mClientID), FIELD(AudioServerPlugInClientInfo, mProcessID);
    FIELD(AudioServerPlugInClientInfo, mIsNativeEndian), FIELD(AudioServerPlugInClientInfo, mBundleID);
    SIZE(AudioServerPlugInIOCycleInfo);
    FIELD(AudioServerPlugInIOCycleInfo, mIOCycleCounter), FIELD(AudioServerPlugInIOCycleInfo, mNominalIOBufferFrameSize);
    FIELD(AudioServerPlugInIOCycleInfo, mCurrentTime), FIELD(AudioServerPlugInIOCycleInfo, mInputTime);
    FIELD(AudioServerPlugInIOCycleInfo, mOutputTime), FIELD(AudioServerPlugInIOCycleInfo, mMainHostTicksPerFrame);
    FIELD(AudioServerPlugInIOCycleInfo, mDeviceHostTicksPerFrame);
    SIZE(HostInterface);
    FIELD(HostInterface, PropertiesChanged), FIELD(HostInterface, CopyFromStorage), FIELD(HostInterface, WriteToStorage);
    FIELD(HostInterface, DeleteFromStorage), FIELD(HostInterface, RequestDeviceConfigurationChange);
    SIZE(DriverInterface);
    FIELD(DriverInterface, QueryInterface), FIELD(DriverInterface, AddRef), FIELD(DriverInterface, Release);
    FIELD(DriverInterface, Initialize), FIELD(DriverInterface, CreateDevice), FIELD(DriverInterface, DestroyDevice);
    FIELD(DriverInterface, AddDeviceClient), FIELD(DriverInterface, RemoveDeviceClient);
    FIELD(DriverInterface, PerformDeviceConfigurationChange), FIELD(DriverInterface, AbortDeviceConfigurationChange);
    FIELD(DriverInterface, HasProperty), FIELD(DriverInterface, IsPropertySettable);
    FIELD(DriverInterface, GetPropertyDataSize), FIELD(DriverInterface, GetPropertyData), FIELD(DriverInterface, SetPropertyData);
    FIELD(DriverInterface, StartIO), FIELD(DriverInterface, StopIO), FIELD(DriverInterface, GetZeroTimeStamp);
    FIELD(DriverInterface, WillDoIOOperation), FIELD(DriverInterface, BeginIOOperation), FIELD(DriverInterface, DoIOOperation);
    FIELD(DriverInterface, EndIOOperation);
    return 0;
}
