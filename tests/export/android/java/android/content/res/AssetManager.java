package android.content.res;

import java.io.File;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.file.Files;

/** Holds the files of a directory; each is a part of a larger file, as assets are of an APK. */
public class AssetManager {
    public static File directory = new File(System.getProperty("assets", "."));

    public AssetFileDescriptor openFd(String name) throws IOException {
        byte[] content = Files.readAllBytes(new File(directory, name).toPath());
        File apk = File.createTempFile("app", ".apk");
        apk.deleteOnExit();
        RandomAccessFile file = new RandomAccessFile(apk, "rw");
        file.write(new byte[1000]);
        file.write(content);
        file.write(new byte[1000]);
        return new AssetFileDescriptor(file, 1000, content.length);
    }
}
