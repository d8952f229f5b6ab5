//! Recorded sound read back from a file, and where in it there is exact silence. Tests and the demo judge by this.

use std::fs;
use std::path::Path;

use super::RehearsalError;

/// Format of samples in a file without a header, little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// 32-bit float.
    F32,
    /// 16-bit integer.
    S16,
}

/// Recorded sound.
#[derive(Clone, Debug, PartialEq)]
pub struct Recording {
    /// Samples, channels interleaved. An S16 is divided by 32768, which is exact.
    pub samples: Vec<f32>,
    /// Channels.
    pub channels: u32,
    /// Sample rate in Hz, if the file says it.
    pub rate: Option<u32>,
}

/// A run of frames that are all silent or all not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// Whether every bit of every sample is zero. (Negative zero is not silence.)
    pub silent: bool,
    /// Its first frame.
    pub start: usize,
    /// Its length in frames.
    pub frames: usize,
}

impl Recording {
    /// Reads a file of bare samples. An incomplete frame at the end is left out: the program was interrupted there.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn read_raw(file: &Path, format: Format, channels: u32) -> Result<Self, RehearsalError> {
        let bytes = fs::read(file).map_err(RehearsalError::io(reading(file)))?;
        let mut samples: Vec<f32> = match format {
            Format::F32 => {
                let (samples, _) = bytes.as_chunks();
                samples.iter().map(|b| f32::from_le_bytes(*b)).collect()
            }
            Format::S16 => {
                let (samples, _) = bytes.as_chunks();
                samples
                    .iter()
                    .map(|b| from_s16(i16::from_le_bytes(*b)))
                    .collect()
            }
        };
        samples.truncate(samples.len() - samples.len() % channels.max(1) as usize);
        Ok(Self {
            samples,
            channels,
            rate: None,
        })
    }

    /// Reads a WAV file of 32-bit floats or 16-bit integers.
    ///
    /// # Errors
    /// The file cannot be read or is something else.
    pub fn read_wav(file: &Path) -> Result<Self, RehearsalError> {
        let wrong = |error: hound::Error| RehearsalError::Io {
            doing: reading(file),
            source: std::io::Error::other(error),
        };
        let mut reader = hound::WavReader::open(file).map_err(wrong)?;
        let spec = reader.spec();
        let samples: Result<Vec<f32>, _> = match (spec.sample_format, spec.bits_per_sample) {
            (hound::SampleFormat::Float, _) => reader.samples::<f32>().collect(),
            (hound::SampleFormat::Int, 16) => {
                reader.samples::<i16>().map(|s| s.map(from_s16)).collect()
            }
            _ => Err(hound::Error::Unsupported),
        };
        Ok(Self {
            samples: samples.map_err(wrong)?,
            channels: spec.channels.into(),
            rate: Some(spec.sample_rate),
        })
    }

    /// Writes a WAV file of 32-bit floats at `rate` Hz, for people to listen to.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write_wav(&self, file: &Path, rate: u32) -> Result<(), RehearsalError> {
        let spec = hound::WavSpec {
            channels: self.channels as u16,
            sample_rate: rate,
            bits_per_sample: 32,
            sample_format: hound::SampleFormat::Float,
        };
        let write = || -> Result<(), hound::Error> {
            let mut writer = hound::WavWriter::create(file, spec)?;
            for sample in &self.samples {
                writer.write_sample(*sample)?;
            }
            writer.finalize()
        };
        write().map_err(|error| RehearsalError::Io {
            doing: format!("writing {}", file.display()),
            source: std::io::Error::other(error),
        })
    }

    /// Frames recorded.
    pub fn frames(&self) -> usize {
        self.samples.len() / self.channels.max(1) as usize
    }

    /// The whole recording as silent and not silent stretches, in order; no two neighbours are of one kind.
    pub fn stretches(&self) -> Vec<Stretch> {
        let mut stretches: Vec<Stretch> = Vec::new();
        for (start, frame) in self
            .samples
            .chunks_exact(self.channels.max(1) as usize)
            .enumerate()
        {
            let silent = frame.iter().all(|sample| sample.to_bits() == 0);
            match stretches.last_mut() {
                Some(last) if last.silent == silent => last.frames += 1,
                _ => stretches.push(Stretch {
                    silent,
                    start,
                    frames: 1,
                }),
            }
        }
        stretches
    }
}

fn from_s16(sample: i16) -> f32 {
    f32::from(sample) / 32768.0
}

fn reading(file: &Path) -> String {
    format!("reading {}", file.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretches_tell_exact_zeros_from_everything_else() {
        let recording = Recording {
            samples: vec![0.0, 0.0, 0.0, 1e-45, 0.5, 0.5, -0.0, 0.0, 0.0, 0.0],
            channels: 2,
            rate: None,
        };
        let stretch = |silent, start, frames| Stretch {
            silent,
            start,
            frames,
        };
        assert_eq!(
            recording.stretches(),
            [
                stretch(true, 0, 1),
                stretch(false, 1, 3),
                stretch(true, 4, 1)
            ]
        );
        assert_eq!(recording.frames(), 5);
    }

    #[test]
    fn raw_files_are_read_to_the_last_whole_frame() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("raw");
        let samples: [i16; 5] = [0, -32768, 16384, 1, 7];
        fs::write(&file, samples.map(i16::to_le_bytes).concat()).unwrap();
        let recording = Recording::read_raw(&file, Format::S16, 2).unwrap();
        assert_eq!(recording.samples, [0.0, -1.0, 0.5, 1.0 / 32768.0]);
        assert!(Recording::read_raw(&directory.path().join("no"), Format::F32, 1).is_err());
        assert!(Recording::read_wav(&file).is_err());
    }
}
