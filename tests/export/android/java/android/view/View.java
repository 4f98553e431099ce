package android.view;

public class View {
    public View(android.content.Context context) {}

    public void setPadding(int left, int top, int right, int bottom) {}

    public boolean getFitsSystemWindows() {
        return false;
    }

    public void setFitsSystemWindows(boolean fits) {}
}
